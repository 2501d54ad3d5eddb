"""The request as each target wants it, and nothing changed that need not be."""

from __future__ import annotations

import json

import pytest

from penstock.exchange import Destination
from penstock.route.form import Form, format_into, formed, speaks
from penstock.route.plan import Choice
from penstock.route.target import ORIGINAL, Target, parse_url

BODY = b'{ "messages":[{"role":"user","content":"gpt-4o"}],\t"model" : "gpt-4o","n":1}'
FIELDS = (
    (b"Host", b"api.openai.com"),
    (b"Authorization", b"Bearer caller-key"),
    (b"Cookie", b"session=1"),
    (b"OpenAI-Organization", b"org-1"),
    (b"Idempotency-Key", b"k-1"),
    (b"content-length", b"%d" % len(BODY)),
)


def choice_of(url: str, model: str | None = "gpt-4o", **more: object) -> Choice:
    if url == ORIGINAL:
        target = Target(ORIGINAL)
        place = Destination("api.openai.com", 443, provider="openai")
    else:
        scheme, host, port, base = parse_url(url)
        target = Target(url, scheme, host, port, base, **more)  # type: ignore[arg-type] # keys
        place = Destination(host, port, provider=target.provider)
    return Choice(target, place, model, "name")


def form(
    choice: Choice, path: str, body: bytes = BODY, asked: str | None = "gpt-4o", fields=FIELDS
) -> Form:  # type: ignore[no-untyped-def] # header fields
    return formed(choice, asked, ("https", "api.openai.com", 443), path, fields, body)


@pytest.mark.parametrize(
    ("url", "more", "path", "arrives"),
    [
        ("https://llm.example/v1", {}, "/v1/chat/completions", "/v1/chat/completions"),
        ("https://llm.example", {}, "/v1/embeddings?x=1", "/v1/embeddings?x=1"),
        ("https://api.groq.com/openai/v1", {}, "/v1/models", "/openai/v1/models"),
        ("https://llm.example/v1", {}, "/openai/v1/chat/completions", "/v1/chat/completions"),
        ("https://llm.example/api/v1", {}, "/v1/responses", "/api/v1/responses"),
        (
            "https://x.openai.azure.com",
            {"provider": "azure", "api_version": "2024-10-21"},
            "/v1/chat/completions",
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        ),
        (
            "https://x.openai.azure.com/openai/v1",
            {"provider": "azure"},
            "/v1/chat/completions",
            "/openai/v1/chat/completions",
        ),
        (
            "https://api.openai.com/v1",
            {"provider": "openai"},
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01",
            "/v1/chat/completions",
        ),
        (
            "https://y.openai.azure.com",
            {"provider": "azure", "api_version": "new"},
            "/openai/deployments/gpt-4o/chat/completions?api-version=old",
            "/openai/deployments/gpt-4o/chat/completions?api-version=new",
        ),
        (
            "https://gw.example",
            {"provider": "gemini"},
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        ),
        (
            "https://eu-aiplatform.example/v1/projects/p/locations/eu/publishers/google",
            {"provider": "vertex"},
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "/v1/projects/p/locations/eu/publishers/google/models/gemini-2.5-pro:generateContent",
        ),
        ("https://claude.example/v1", {"provider": "anthropic"}, "/v1/messages", "/v1/messages"),
    ],
)
def test_path(url: str, more: dict[str, object], path: str, arrives: str) -> None:
    """The base of the target, then what the API adds; the query stays."""
    assert form(choice_of(url, **more), path).path == arrives


def test_original_stays_byte_for_byte() -> None:
    """The destination the caller asked for gets what the caller sent."""
    made = form(choice_of(ORIGINAL), "/v1/chat/completions?q=1")
    assert (made.scheme, made.host, made.port) == ("https", "api.openai.com", 443)
    assert (made.path, tuple(made.fields), made.body) == ("/v1/chat/completions?q=1", FIELDS, BODY)


def test_alias_moves_no_other_byte() -> None:
    """Only the value of ``model`` changes, and content-length with it."""
    made = form(choice_of("https://llm.example/v1", 'llama "3"'), "/v1/chat/completions")
    assert made.body == BODY.replace(b': "gpt-4o"', b': "llama \\"3\\""')
    assert dict(made.fields)[b"content-length"] == str(len(made.body)).encode()


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", "/v1beta/models/m-2:generateContent"),
        ("/model/anthropic.claude-v2/converse", "/model/m-2/converse"),
        ("/openai/deployments/gpt-4o/chat/completions", "/openai/deployments/m-2/chat/completions"),
    ],
)
def test_alias_in_the_path(path: str, arrives: str) -> None:
    """Where the model stands in the URL, the body is not touched."""
    made = form(choice_of(ORIGINAL, "m-2"), path)
    assert (made.path, made.body) == (arrives, BODY)


def test_deployment_becomes_a_model() -> None:
    """Away from Azure's path the body has to name the model."""
    made = form(
        choice_of("https://llm.example/v1"),
        "/openai/deployments/gpt-4o/chat/completions?api-version=1",
        b'{"messages":[]}',
    )
    assert json.loads(made.body) == {"messages": [], "model": "gpt-4o"}


def test_key_and_account_stay_with_the_host_they_are_for() -> None:
    """Another host gets no key, cookie or organisation of the caller; the rest goes along."""
    made = dict(form(choice_of("https://llm.example:8443/v1"), "/v1/x?key=caller").fields)
    assert made[b"Host"] == b"llm.example:8443" and made[b"Idempotency-Key"] == b"k-1"
    assert not {b"Authorization", b"Cookie", b"OpenAI-Organization"} & set(made)
    assert "caller" not in form(choice_of("https://llm.example/v1"), "/v1/x?key=caller").path


def test_key_goes_where_the_policy_sends_it() -> None:
    """``key: caller`` takes it along, ``key: none`` leaves it even at the same host."""
    along = form(choice_of("https://gw.example/v1", key="caller"), "/v1/x")
    assert dict(along.fields)[b"Authorization"] == b"Bearer caller-key"
    same = form(choice_of("https://api.openai.com/v1"), "/v1/x")
    assert dict(same.fields)[b"Authorization"] == b"Bearer caller-key"
    without = form(choice_of("https://api.openai.com/v1", key="none"), "/v1/x")
    assert b"Authorization" not in dict(without.fields)


@pytest.mark.parametrize(
    ("provider", "api", "does"),
    [
        ("openai", "openai.chat_completions", True),
        ("azure", "openai.responses", True),
        (None, "anthropic.messages", True),  # an in-house host: its owner knows
        ("openai", "anthropic.messages", False),
        ("anthropic", "openai.chat_completions", False),
        ("gemini", "google.generate_content", True),
        ("gemini", "openai.chat_completions", True),
        ("vertex", "google.stream_generate_content", True),
        ("openai", "google.generate_content", False),
        ("vertex", "anthropic.messages", False),
        (None, "unknown.json", False),
    ],
)
def test_who_speaks_what(provider: str | None, api: str, does: bool) -> None:
    """A target speaks the call's own format, or it would have to be translated."""
    assert speaks(provider, api) is does


def test_a_stated_format_counts_before_the_providers() -> None:
    """Google's families are named after the company, their format after the models."""
    assert speaks(None, "google.generate_content", "gemini")
    assert not speaks("gemini", "google.generate_content", "openai")
    # Gemini's hosts serve OpenAI's format too, at another path: who translates means its own.
    assert not speaks("gemini", "openai.chat_completions", translates=True)
    assert speaks("ollama", "anthropic.messages", translates=True)


@pytest.mark.parametrize(
    ("provider", "stated", "into"),
    [
        ("openai", None, "openai"),
        ("groq", None, "openai"),
        ("anthropic", None, "anthropic"),
        ("vertex", None, "gemini"),
        ("vertex", "anthropic", "anthropic"),
        ("ollama", None, "openai"),
        ("bedrock", None, None),
        ("cohere", None, None),
        (None, None, None),
        (None, "gemini", "gemini"),
        ("openai", "cohere", None),
    ],
)
def test_what_a_target_is_translated_into(
    provider: str | None, stated: str | None, into: str | None
) -> None:
    """Its stated format, else its provider's own; an unknown host has to say it."""
    assert format_into(provider, stated) == into


@pytest.mark.parametrize(
    "url",
    ["llm.example", "ftp://x/", "https://", "https://u:p@x/", "https://x/?k=1", "https://x/#a",
     "https://x:99999/", "https://x y/", "https://x/\n"],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    """Each is refused at load, keys in URLs above all."""
    with pytest.raises(ValueError):
        parse_url(url)


def test_aliases_exact_before_longest_pattern() -> None:
    """An exact entry wins, then the pattern that says most; no entry: the same name."""
    target = Target("u", models=(("gpt-*", "a"), ("gpt-4o*", "b"), ("gpt-4o-mini", "c")))
    names = [target.model_for(n) for n in ("gpt-4o-mini", "gpt-4o-x", "gpt-5", "claude", None)]
    assert names == ["c", "b", "a", "claude", None]
