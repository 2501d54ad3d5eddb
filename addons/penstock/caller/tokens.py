"""Bearer tokens: JSON Web Tokens checked against a key set (RFC 7519, RFC 8725).

The algorithm is pinned by the policy and must fit the key; keys come from the configured set
only, never from the token. Issuer, audience and expiry are required.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from penstock.caller.identity import Identity, JwtCheck, NotProvedError

TOKEN_CHARACTERS_MAX = 16 * 1024
KEYS_MAX = 100
# Clocks of issuers and pods differ by seconds.
LEEWAY_SECONDS = 30
USER_CHARACTERS_MAX = 128

_ASYMMETRIC = ("RSA", "EC", "OKP")
_USER = re.compile(r"[\w.@+\-\\/=:|]+")


class UnknownKeyError(NotProvedError):
    """The token names a key that is not in the set: perhaps a newer one is."""


def key_set(content: bytes) -> KeySet:
    """The public signing keys of a key set.

    Raises:
        NotProvedError: it is none, or holds no usable key.
    """
    try:
        given = json.loads(content)["keys"]
        wanted = [key for key in given[:KEYS_MAX] if _signs(key)]
        keys = KeySet.import_key_set({"keys": wanted})
    except (ValueError, TypeError, KeyError, JoseError):
        raise NotProvedError("the issuer's key set cannot be read") from None
    if not keys.keys:
        raise NotProvedError("the issuer's key set holds no key to verify with")
    return keys


def check(token: str, keys: KeySet, wanted: JwtCheck, now: float) -> Identity:
    """The identity a token proves at ``now`` (seconds since the epoch).

    Raises:
        UnknownKeyError: signed by a key that is not in ``keys``.
        NotProvedError: anything else that is wrong with it.
    """
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise NotProvedError("the token is too long")
    rules = jwt.JWTClaimsRegistry(
        now=int(now),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": wanted.issuer},
        aud={"essential": True, "values": list(wanted.audience)},
        exp={"essential": True},
    )
    try:
        claims = jwt.decode(token, keys, algorithms=list(wanted.algorithms)).claims
        rules.validate(claims)
    except InvalidKeyIdError:
        raise UnknownKeyError("the token is signed by a key the issuer does not list") from None
    except ExpiredTokenError:
        raise NotProvedError("the token has expired") from None
    except (JoseError, ValueError, TypeError) as error:
        raise NotProvedError(f"the token is not valid ({type(error).__name__})") from None
    return Identity(
        user_of(claims, wanted.user), claims, float(claims["exp"]) + LEEWAY_SECONDS, token
    )


def user_of(claims: Mapping[str, Any], claim: str) -> str | None:
    """The caller's name, when the claim holds one that can be shown."""
    name = claims.get(claim)
    fits = isinstance(name, str) and len(name) <= USER_CHARACTERS_MAX and _USER.fullmatch(name)
    return name if fits else None


def _signs(key: Any) -> bool:
    """True for a public key to verify with; secrets and encryption keys are no business of ours."""
    return (
        isinstance(key, dict)
        and key.get("kty") in _ASYMMETRIC
        and key.get("use", "sig") == "sig"
        and "d" not in key
    )
