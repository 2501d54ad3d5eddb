"""Host patterns of policies: exact, below, everything, ports, addresses, odd spellings."""

from __future__ import annotations

import pytest

from penstock.destinations.patterns import canonical_host, matches, pattern_problem


@pytest.mark.parametrize(
    ("pattern", "host", "port"),
    [
        ("api.example.com", "api.example.com", 443),
        ("api.example.com", "API.Example.COM", None),
        ("api.example.com", "api.example.com.", 443),
        ("API.example.com.", "api.example.com", 443),
        ("*.example.com", "api.example.com", 443),
        ("*.example.com", "a.b.example.com", 443),
        ("*", "anything.at.all", 443),
        ("*:8443", "anything.at.all", 8443),
        ("api.example.com:8443", "api.example.com", 8443),
        ("bücher.example", "xn--bcher-kva.example", 443),
        ("xn--bcher-kva.example", "BÜCHER.example", 443),
        ("api。example。com", "api.example.com", 443),
        ("10.0.0.7", "10.0.0.7", 80),
        ("10.0.0.7:8080", "10.0.0.7", 8080),
        ("::1", "[::1]", 443),
        ("[::1]:8443", "0:0:0:0:0:0:0:1", 8443),
        ("10.0.0.7", "::ffff:10.0.0.7", 443),
        ("localhost", "localhost", 11434),
    ],
)
def test_what_a_pattern_means_matches(pattern: str, host: str, port: int | None) -> None:
    """A pattern covers every spelling of the hosts it names."""
    assert matches(pattern, host, port)


@pytest.mark.parametrize(
    ("pattern", "host", "port"),
    [
        ("api.example.com", "example.com", 443),
        ("api.example.com", "v1.api.example.com", 443),
        ("api.example.com", "api.example.com.evil.test", 443),
        ("*.example.com", "example.com", 443),
        ("*.example.com", "badexample.com", 443),
        ("*.example.com", "example.com.evil.test", 443),
        ("api.example.com:8443", "api.example.com", 443),
        ("api.example.com:8443", "api.example.com", None),
        ("10.0.0.7", "10.0.0.70", 80),
        ("::1", "::11", 443),
        ("*", "", 443),
        ("*", "a..b", 443),
        ("*", "x" * 300, 443),
        ("*.ex*mple.com", "api.example.com", 443),
    ],
)
def test_what_a_pattern_does_not_mean_does_not_match(
    pattern: str, host: str, port: int | None
) -> None:
    """No partial labels, no look-alike suffix, no wrong port, no malformed host."""
    assert not matches(pattern, host, port)


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("https://api.example.com", "port"),
        ("api.example.com/v1", "URL"),
        ("api.*.com", "star"),
        ("api.example.com:0", "port"),
        ("api.example.com:99999", "port"),
        ("api.example.com:٤٤٣", "port"),
        ("", "host"),
        ("a..b", "host"),
    ],
)
def test_a_wrong_pattern_is_explained(pattern: str, word: str) -> None:
    """The policy's author is told what is wrong."""
    assert word in (pattern_problem(pattern) or "")


def test_good_patterns_have_no_problem() -> None:
    """What the policy language documents is accepted."""
    for pattern in (
        "*",
        "*.example.com",
        "api.example.com:443",
        "10.1.2.3",
        "[::1]:80",
        "bücher.de",
    ):
        assert pattern_problem(pattern) is None


def test_canonical_host_never_raises_on_hostile_names() -> None:
    """Whatever stands in a ClientHello or Host header gives a string."""
    for host in (
        "\x00",
        "..",
        ".",
        "[",
        "[]",
        "[::g]",
        "%",
        "é" * 300,
        "a" * 64 + "é.com",
        "\ud800",
    ):
        assert isinstance(canonical_host(host), str)
