"""Credentials leave as keyed fingerprints; users come without passwords."""

from __future__ import annotations

import base64

import pytest

from penstock.caller.credentials import (
    OVERLONG,
    credential_fingerprints,
    fingerprint,
    proxy_user,
)

KEY = b"k" * 32
SECRET = "sk-" + "canary" * 6


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"authorization": f"Bearer {SECRET}"}, "/v1/chat"),
        ({"authorization": f"bearer   {SECRET} "}, "/v1/chat"),
        ({"authorization": SECRET}, "/"),
        ({"x-api-key": SECRET}, "/"),
        ({"api-key": SECRET}, "/"),
        ({"x-goog-api-key": SECRET}, "/"),
        ({}, f"/v1beta/models/x:generateContent?alt=sse&key={SECRET}"),
        ({"authorization": "Bearer other", "x-api-key": SECRET}, "/"),
    ],
)
def test_one_key_has_one_fingerprint_wherever_it_stands(headers: dict[str, str], path: str) -> None:
    """The same key in any of its places is recognised as the same, and is not in the result."""
    found = credential_fingerprints(headers, path, KEY)[0]
    assert found == fingerprint(SECRET, KEY)
    assert len(found) == 16 and "canary" not in found


def test_an_aws_signature_is_known_by_its_access_key() -> None:
    """Two requests of one AWS identity differ in signature and share the fingerprint."""
    form = "AWS4-HMAC-SHA256 Credential={}/20261121/us-east-1/bedrock/aws4_request, Signature={}"
    one = credential_fingerprints({"authorization": form.format("AKIAEXAMPLE1", "aa")}, "/", KEY)
    two = credential_fingerprints({"authorization": form.format("AKIAEXAMPLE1", "bb")}, "/", KEY)
    other = credential_fingerprints({"authorization": form.format("AKIAEXAMPLE2", "aa")}, "/", KEY)
    assert one == two != other


def test_the_installation_key_matters() -> None:
    """Without the installation's key a fingerprint cannot be tested against a guess."""
    assert fingerprint(SECRET, KEY) != fingerprint(SECRET, b"j" * 32)


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"authorization": "Bearer " + "x" * 100_000}, "/"),
        ({}, "/?" + "key&" * 20_000),
        ({}, "/?" + "&".join(f"a{n}=1" for n in range(1000)) + "&key=x"),
    ],
)
def test_an_absurd_credential_is_on_no_list(headers: dict[str, str], path: str) -> None:
    """An oversized header and a flood of parameters have no fingerprint a list could hold."""
    assert credential_fingerprints(headers, path, KEY) == (OVERLONG,)


@pytest.mark.parametrize(("headers", "path"), [({}, "/"), ({"authorization": ""}, "/?key=")])
def test_no_credential_has_no_fingerprint(headers: dict[str, str], path: str) -> None:
    """A call without a key is a call without a fingerprint."""
    assert credential_fingerprints(headers, path, KEY) == ()


def test_every_key_of_a_call_is_seen() -> None:
    """A second key beside the first, in any place, does not hide behind it."""
    headers = {
        "x-api-key": "ours",
        "authorization": "Bearer second",
        "sec-websocket-protocol": "realtime, openai-insecure-api-key.third",
    }
    path = "/v1?key=fourth&a=b&KEY=fifth&X-Amz-Credential=sixth%2F20261121%2Feu%2Fs3%2Faws4_request"
    names = ("ours", "second", "third", "fourth", "fifth", "sixth")
    found = credential_fingerprints(headers, path, KEY)
    assert found == tuple(fingerprint(name, KEY) for name in names)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "user"),
    [
        (basic("ada:s3cret"), "ada"),
        (basic("ada@example.com:"), "ada@example.com"),
        (basic("Müller:x"), "Müller"),
        (basic("ada:s:3:cret").replace("Basic", "basic"), "ada"),
        (basic(":only-password"), None),
        (basic("x" * 200 + ":p"), None),
        (basic("a\nb:p"), None),
        ("Basic !!!", None),
        ("Basic /////w==", None),
        ("Bearer abc", None),
        ("", None),
        (None, None),
    ],
)
def test_the_proxy_user_comes_without_the_password(header: str | None, user: str | None) -> None:
    """Only the user name of a Basic credential is read; odd input gives None."""
    assert proxy_user(header) == user
