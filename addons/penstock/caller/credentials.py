"""Whose credential a call carries, without ever holding on to the credential.

A keyed BLAKE2 of the provider key tells two keys apart and finds one again, and is worth
nothing to whoever reads it: without the installation's own key it cannot be tested against
a guess. No function here returns a key, a password or a token.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from hashlib import blake2b
from urllib.parse import parse_qsl, urlsplit

# 64 bits: two of a million keys collide with probability 3e-8, and nothing can be inverted.
FINGERPRINT_BYTES = 8
# A longer header or query is no provider key (a JWT stays below 16 KiB by proxy head limits).
CREDENTIAL_CHARACTERS_MAX = 32_768
USER_CHARACTERS_MAX = 128

KEY_HEADERS = ("x-api-key", "api-key", "x-goog-api-key", "ocp-apim-subscription-key", "xi-api-key")
KEY_PARAMETERS = ("key", "api_key", "api-key", "apikey", "access_token")

_SIGV4 = re.compile(r"AWS4-\S{1,40} +Credential=([A-Za-z0-9]{1,128})/")
_USER = re.compile(r"[\w.@+\-\\/=:]+")


def fingerprint(value: str, key: bytes) -> str:
    """16 hexadecimal digits for ``value`` under the installation's ``key`` (16 to 64 bytes)."""
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT_BYTES, key=key)
    return digest.hexdigest()


def credential_fingerprint(headers: Mapping[str, str], path: str, key: bytes) -> str | None:
    """The fingerprint of the provider key a request carries; None when it carries none.

    Looked for in Authorization (any scheme; of an AWS signature the access key id, as the
    rest changes with each request), the providers' key headers and the query.
    """
    value = _from_headers(headers) or _from_query(path)
    if not value or len(value) > CREDENTIAL_CHARACTERS_MAX:
        return None
    return fingerprint(value, key)


def _from_headers(headers: Mapping[str, str]) -> str | None:
    for name in KEY_HEADERS:
        if value := headers.get(name, "").strip():
            return value
    authorization = headers.get("authorization", "").strip()
    if signed := _SIGV4.match(authorization):
        return signed.group(1)
    _, _, value = authorization.partition(" ")
    return value.strip() or authorization or None


def _from_query(path: str) -> str | None:
    _, question, query = path.partition("?")
    if not question or len(query) > CREDENTIAL_CHARACTERS_MAX:
        return None
    try:
        pairs = parse_qsl(urlsplit("?" + query).query, max_num_fields=100)
    except ValueError:
        return None
    return next((value for name, value in pairs if name.lower() in KEY_PARAMETERS and value), None)


def proxy_user(proxy_authorization: str | None) -> str | None:
    """The user name in a Basic ``Proxy-Authorization`` (RFC 7617); the password is dropped.

    A name with characters no user name has, or too long, is none: it may be a key in disguise.
    """
    scheme, _, encoded = (proxy_authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    user = decoded.partition(":")[0]
    fits = len(user) <= USER_CHARACTERS_MAX and _USER.fullmatch(user)
    return user if fits else None
