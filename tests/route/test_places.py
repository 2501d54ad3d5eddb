"""Where keys stand in requests: every one of the caller's out, one of ours in."""

from __future__ import annotations

import pytest

from penstock.caller.credentials import KEY_HEADERS, credential_fingerprints
from penstock.route.credentials.places import form_for, placed, without_credentials
from penstock.route.credentials.spec import Form, Spec

FILE = Spec("file", (("path", "/run/key"),))
AWS4 = b"AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/bedrock/aws4_request, Signature=0"


@pytest.mark.parametrize(
    ("fields", "path", "provider", "form"),
    [
        ([(b"Authorization", b"Bearer x")], "/", "anthropic", "bearer"),
        ([(b"X-API-Key", b"x")], "/", "openai", "x-api-key"),
        ([(b"api-key", b"x")], "/", "azure", "api-key"),
        ([], "/v1beta/models/m:generateContent?alt=sse&key=x", "gemini", "key"),
        ([], "/", "gemini", "x-goog-api-key"),
        ([], "/", "anthropic", "x-api-key"),
        ([], "/", "openai", "bearer"),
        ([], "/", None, "bearer"),
        ([(b"Authorization", AWS4)], "/", "bedrock", "bearer"),
    ],
)
def test_the_form_follows_the_caller_then_the_provider(
    fields: list[tuple[bytes, bytes]], path: str, provider: str | None, form: Form
) -> None:
    """The same header as the SDK used; without one, the provider's documented place."""
    assert form_for(FILE, fields, path, provider) == form


def test_a_rules_form_and_tokens_come_first() -> None:
    """``as`` wins; what is a token is a bearer, whatever the caller's SDK sent."""
    sent = [(b"api-key", b"x")]
    assert form_for(Spec("file", form="x-api-key"), sent, "/", "azure") == "x-api-key"
    assert form_for(Spec("azure"), sent, "/", "azure") == "bearer"
    assert form_for(Spec("aws"), sent, "/", None) == "sigv4"


def test_only_the_key_changes() -> None:
    """Order, names and bytes of all other fields stay, and so does the rest of the path."""
    fields = [(b"Host", b"h"), (b"AUTHORIZATION", b"Bearer old"), (b"x", b"\xff")]
    path = "/v1?b=%20&key=old&a=%2B"
    assert placed(fields, path, "bearer", "NEW") == (
        [(b"Host", b"h"), (b"AUTHORIZATION", b"Bearer NEW"), (b"x", b"\xff")],
        "/v1?b=%20&a=%2B",
    )
    assert placed(fields, path, "key", "N/W") == (
        [(b"Host", b"h"), (b"x", b"\xff")],
        "/v1?b=%20&a=%2B&key=N%2FW",
    )
    assert placed([(b"Host", b"h")], "/v1", "x-api-key", "NEW")[0][-1] == (b"x-api-key", b"NEW")
    assert placed([], "/v1", "key", "NEW") == ([], "/v1?key=NEW")


def test_no_key_of_the_callers_survives() -> None:
    """Every place a key is looked for is a place it is taken from."""
    fields = [(name.encode(), b"worthless") for name in KEY_HEADERS]
    fields += [
        (b"Authorization", AWS4),
        (b"X-Amz-Security-Token", b"worthless"),
        (b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key.worthless, v1"),
        (b"Sec-WebSocket-Protocol", b"openai-insecure-api-key.worthless"),
    ]
    path = "/p?KEY=worthless&k%65y=worthless&access_token=w&X-Amz-Credential=w&x=1"
    kept, left = without_credentials(fields, path)
    assert kept == [(b"Sec-WebSocket-Protocol", b"realtime, v1")] and left == "/p?x=1"
    headers = {name.decode().lower(): value.decode() for name, value in kept}
    assert credential_fingerprints(headers, left, b"k" * 32) == ()
    assert without_credentials([], "/p?key=1") == ([], "/p")
