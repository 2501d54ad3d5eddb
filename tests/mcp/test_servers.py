"""Which server a rule governs: generous towards spellings, exact towards names."""

from __future__ import annotations

import time

import pytest

from penstock.mcp.servers import governs, origin, server_problem, url_of, wildcard

COPILOT = "https://api.githubcopilot.com/mcp/*"


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        (COPILOT, "https://api.githubcopilot.com/mcp/"),
        (COPILOT, "https://api.githubcopilot.com/mcp"),
        (COPILOT, "https://api.githubcopilot.com/mcp/x/all/readonly"),
        (COPILOT, "https://API.GitHubCopilot.com./MCP/"),
        (COPILOT, "https://api.githubcopilot.com//mcp//"),
        (COPILOT, "https://api.githubcopilot.com/other/../mcp/"),
        (COPILOT, "https://api.githubcopilot.com/%6dcp/"),
        (COPILOT, "https://api.githubcopilot.com/%256dcp/"),
        (COPILOT, "https://api.githubcopilot.com/mcp%2Fx"),
        (COPILOT, "https://api.githubcopilot.com/x%2f..%2fmcp/"),
        (COPILOT, "https://api.githubcopilot.com/mcp/?sessionId=1"),
        (COPILOT, "http://api.githubcopilot.com/mcp/"),
        (COPILOT, "https://api.githubcopilot.com:8443/mcp/"),
        ("https://mcp.example.com", "https://mcp.example.com/any/thing"),
        ("https://mcp.example.com/", "https://mcp.example.com/any/thing"),
        ("mcp.example.com", "https://mcp.example.com/sse"),
        ("*.example.com", "https://mcp.example.com/sse"),
        ("https://*.example.com/mcp", "https://a.example.com/mcp"),
        ("http://127.0.0.1:3101/mcp", "http://127.0.0.1:3101/mcp"),
        ("http://[::1]:3101/mcp", "http://[::1]:3101/mcp"),
        ("*", "anything"),
    ],
)
def test_every_spelling_of_a_governed_server_is_governed(pattern: str, url: str) -> None:
    """A rule cannot be walked around by writing the URL another way."""
    assert governs(pattern, url)


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        (COPILOT, "https://api.githubcopilot.com/chat/completions"),
        (COPILOT, "https://api.githubcopilot.com/mcpx"),
        (COPILOT, "https://api.githubcopilot.com.evil.test/mcp/"),
        (COPILOT, "https://evil.test/api.githubcopilot.com/mcp/"),
        ("https://mcp.example.com:8443/mcp", "https://mcp.example.com/mcp"),
        ("https://mcp.example.com/a", "https://mcp.example.com/b"),
        ("*.example.com", "https://example.com/mcp"),
        (COPILOT, "not a url"),
        (COPILOT, "https://[bad"),
        (COPILOT, "https://api.githubcopilot.com:port/mcp"),
        (COPILOT, ""),
    ],
)
def test_other_servers_are_not_governed(pattern: str, url: str) -> None:
    """Another path, another host, a look-alike and nonsense are not meant."""
    assert not governs(pattern, url)


def test_a_server_is_named_by_origin_without_session_or_key() -> None:
    """Reports and lock files carry no query."""
    assert origin("https", "a.example", 443) == "https://a.example"
    assert origin("http", "::1", 3101) == "http://[::1]:3101"
    assert url_of("https", "a.example", 443, "/mcp?key=x") == "https://a.example/mcp"


def test_a_wrong_server_is_explained() -> None:
    """Policies are checked before they are served."""
    assert server_problem("https://a.*.example/mcp") is not None
    assert server_problem("") is not None
    for good in ("*", COPILOT, "*.example.com", "http://[::1]:3101/mcp", "localhost:3101"):
        assert server_problem(good) is None


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("get_*", "get_issue", True),
        ("get_*", "get_", True),
        ("get_*", "forget_it", False),
        ("*_read", "file_read", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*a*b*", "xxaxxbxx", True),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("[a]", "a", False),
    ],
)
def test_wildcards(pattern: str, text: str, fits: bool) -> None:
    """Star and question mark; brackets are ordinary characters of tool names."""
    assert wildcard(pattern, text) is fits


def test_wildcards_cannot_be_made_slow() -> None:
    """The classical bad case of backtracking ends in bounded time."""
    start = time.perf_counter()
    assert not wildcard("*a" * 20 + "b", "a" * 2000)
    assert time.perf_counter() - start < 1
