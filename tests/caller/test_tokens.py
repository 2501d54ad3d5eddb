"""Tokens prove a caller only when everything about them is right."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from penstock.caller.identity import JwtCheck, NotProvedError
from penstock.caller.tokens import UnknownKeyError, check, key_set

NOW = time.time()
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1"})
OKP = OKPKey.generate_key("Ed25519", {"kid": "okp-1"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa-1"})
SET = {"keys": [key.as_dict(private=False) for key in (RSA, EC, OKP)]}
KEYS = key_set(json.dumps(SET).encode())
WANTED = JwtCheck("https://issuer.example", ("penstock", "proxy"), "https://issuer.example/keys")
CLAIMS: dict[str, Any] = {
    "iss": "https://issuer.example",
    "aud": "penstock",
    "sub": "ada",
    "exp": int(NOW) + 600,
    "groups": ["admin"],
    "kubernetes.io": {"namespace": "prod"},
}


def token(
    key: Key = RSA, alg: str = "RS256", head: dict[str, Any] | None = None, **more: Any
) -> str:
    claims = {name: value for name, value in (CLAIMS | more).items() if value is not None}
    header = {"alg": alg, "kid": key.kid} | (head or {})
    return jwt.encode(
        {name: value for name, value in header.items() if value is not None},
        claims,
        key,
        algorithms=[alg],
    )


def test_a_good_token_proves_its_caller() -> None:
    """Name, claims and end are the token's; the token itself does not show."""
    identity = check(token(), KEYS, WANTED, NOW)
    assert identity.user == "ada" and identity.claims["kubernetes.io"]["namespace"] == "prod"
    assert identity.holds(NOW + 600) and not identity.holds(NOW + 700)
    assert identity.token and identity.token not in repr(identity)
    assert check(token(EC, "ES256", aud=["other", "proxy"]), KEYS, WANTED, NOW).user == "ada"


def unsigned(header: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in (header, CLAIMS))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def hmac_signed() -> str:
    """HS256 with the public key's PEM as its secret: the classic confusion of algorithms."""
    text = unsigned({"alg": "HS256", "kid": "rsa-1"})[:-1]
    mac = hmac.digest(RSA.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


WRONG = {
    "another issuer": token(iss="https://evil.example"),
    "no issuer": token(iss=None),
    "another audience": token(aud="somebody-else"),
    "no audience": token(aud=None),
    "expired": token(exp=int(NOW) - 60),
    "no expiry": token(exp=None),
    "an expiry that is none": token(exp="soon"),
    "not yet valid": token(nbf=int(NOW) + 300),
    "an algorithm that is not pinned": token(OKP, "Ed25519"),
    "a stronger algorithm that is not pinned": token(RSA, "PS256"),
    "an algorithm of another key": token(EC, "ES256", head={"kid": "rsa-1"}),
    "a stranger's key under our name": token(STRANGER),
    "the public key as a secret": hmac_signed(),
    "no signature": unsigned({"alg": "none"}),
    "no signature, named key": unsigned({"alg": "None", "kid": "rsa-1"}),
    "a key of its own": token(STRANGER, head={"jwk": {"kty": "RSA"}}),
    "a subject that is no text": token(sub=7),
    "a cut signature": token()[:-8],
    "a changed claim": token().replace(".", ".e", 1),
    "nothing": "",
    "dots": "..",
    "not ASCII": "é.é.é",
    "a flood": "a" * 100_000,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_token_proves_nothing(name: str) -> None:
    """Each thing that can be wrong is refused, and nothing of the token is repeated."""
    with pytest.raises(NotProvedError) as raised:
        check(WRONG[name], KEYS, WANTED, NOW)
    assert "ada" not in str(raised.value) and "evil" not in str(raised.value)


@pytest.mark.parametrize("kid", ["rsa-2", None])
def test_an_unknown_key_is_told_apart(kid: str | None) -> None:
    """It may be newer than our set: worth one more look."""
    with pytest.raises(UnknownKeyError):
        check(token(head={"kid": kid}), KEYS, WANTED, NOW)


@pytest.mark.parametrize("name", ["x" * 200, "a\nb", "", None, "two words"])
def test_a_name_that_cannot_be_shown_is_none(name: Any) -> None:
    """The proof holds, the caller stays without a name."""
    assert check(token(sub=name), KEYS, WANTED, NOW).user is None


def test_the_set_keeps_only_public_keys_that_sign() -> None:
    """Secrets, encryption keys and unknown kinds are left out; a set without any other is none."""
    bad = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s"},
        RSA.as_dict(private=False) | {"use": "enc"},
        RSA.as_dict(private=True),
        {"kty": "strange"},
        "text",
    ]
    for content in (b"", b"[]", b"{}", b'{"keys": 1}', json.dumps({"keys": bad}).encode()):
        with pytest.raises(NotProvedError):
            key_set(content)
    assert len(key_set(json.dumps({"keys": [*bad, SET["keys"][1]]}).encode()).keys) == 1
