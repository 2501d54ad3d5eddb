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
KEY_PARAMETERS = (
    "key",
    "api_key",
    "api-key",
    "apikey",
    "access_token",
    "subscription-key",
    "x-amz-credential",
)
# A browser's way to send a key with a WebSocket (OpenAI's realtime API).
SUBPROTOCOL_KEY = "openai-insecure-api-key."
# Stands where a fingerprint would for what is too long to be a key: no list can hold it.
OVERLONG = "overlong"

_SIGV4 = re.compile(r"AWS4-\S{1,40} +Credential=([A-Za-z0-9]{1,128})/")
_USER = re.compile(r"[\w.@+\-\\/=:]+")


def fingerprint(value: str, key: bytes) -> str:
    """16 hexadecimal digits for ``value`` under the installation's ``key`` (16 to 64 bytes)."""
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT_BYTES, key=key)
    return digest.hexdigest()


def credential_fingerprints(headers: Mapping[str, str], path: str, key: bytes) -> tuple[str, ...]:
    """The fingerprint of every provider key a request carries; the one that counts comes first.

    Looked for in the providers' key headers, Authorization (any scheme; of an AWS signature
    the access key id, as the rest changes with each request), the query and the WebSocket
    subprotocol. All of them: which one a provider believes is the provider's affair.
    """
    found = _in_headers(headers) + _in_query(path)
    if not found:
        return ()
    return tuple(
        OVERLONG if len(value) > CREDENTIAL_CHARACTERS_MAX else fingerprint(value, key)
        for value in dict.fromkeys(found)
    )


def _in_headers(headers: Mapping[str, str]) -> list[str]:
    found = [value for name in KEY_HEADERS if (value := headers.get(name, "").strip())]
    authorization = headers.get("authorization", "").strip()
    if signed := _SIGV4.match(authorization):
        found.append(signed.group(1))
    elif authorization:
        _, _, value = authorization.partition(" ")
        found.append(value.strip() or authorization)
    protocols = headers.get("sec-websocket-protocol", "")
    if SUBPROTOCOL_KEY in protocols:
        names = (name.strip() for name in protocols.split(","))
        found += [n.removeprefix(SUBPROTOCOL_KEY) for n in names if n.startswith(SUBPROTOCOL_KEY)]
    return found


def _in_query(path: str) -> list[str]:
    _, question, query = path.partition("?")
    if not question:
        return []
    if len(query) > CREDENTIAL_CHARACTERS_MAX:
        return [query]
    try:
        pairs = parse_qsl(urlsplit("?" + query).query, max_num_fields=100)
    except ValueError:
        return [query.ljust(CREDENTIAL_CHARACTERS_MAX + 1)]
    # Of an AWS scope (key/date/region/service/aws4_request) only the first word stays the same.
    return [
        value.partition("/")[0] if name.lower() == "x-amz-credential" else value
        for name, value in pairs
        if name.lower() in KEY_PARAMETERS and value
    ]


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
