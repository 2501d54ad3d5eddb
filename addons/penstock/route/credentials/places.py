"""Where a credential stands in a request: taking the caller's out, putting the real one in.

Works on header fields and a path as they are on the wire; bytes that are no credential do
not move.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote_plus

from penstock.caller.credentials import KEY_HEADERS, KEY_PARAMETERS, SUBPROTOCOL_KEY
from penstock.route.credentials.spec import IDENTITY, Form, Spec

Fields = Sequence[tuple[bytes, bytes]]
Placed = tuple[list[tuple[bytes, bytes]], str]

HEADER_FORMS: dict[bytes, Form] = {
    b"authorization": "bearer",
    b"x-api-key": "x-api-key",
    b"api-key": "api-key",
    b"x-goog-api-key": "x-goog-api-key",
    b"xi-api-key": "xi-api-key",
    b"ocp-apim-subscription-key": "ocp-apim-subscription-key",
}
# Where each provider documents its key; bearer for all others.
PROVIDER_FORMS: dict[str, Form] = {
    "anthropic": "x-api-key",
    "azure": "api-key",
    "gemini": "x-goog-api-key",
}
# These sources give tokens, and tokens are bearers whatever the caller sent.
TOKEN_SOURCES = frozenset(("azure", "google", "oauth", "exchange"))

IDENTITY_HEADER: Form = "penstock-identity"

_KEY_NAMES = frozenset((*(name.encode() for name in KEY_HEADERS), b"authorization"))
_SIGNATURE_NAMES = frozenset((b"x-amz-security-token", b"x-amz-date", b"x-amz-content-sha256"))
_PROTOCOLS = b"sec-websocket-protocol"


def form_for(spec: Spec, fields: Fields, path: str, provider: str | None) -> Form:
    """The form to use: the rule's, the source's, the caller's own, the provider's."""
    if spec.form is not None:
        return spec.form
    if spec.kind == "aws":
        return "sigv4"
    if spec.kind == IDENTITY:
        return IDENTITY_HEADER
    if spec.kind in TOKEN_SOURCES:
        return "bearer"
    for name, value in fields:
        form = HEADER_FORMS.get(name.lower())
        if form is not None and not value.startswith(b"AWS4-"):
            return form
    if any(_is_key(pair) for pair in _query(path)):
        return "key"
    return PROVIDER_FORMS.get(provider or "", "bearer")


def without_credentials(fields: Fields, path: str) -> Placed:
    """The request without any key of the caller's, wherever one can stand."""
    signed = any(n.lower() == b"authorization" and v.startswith(b"AWS4-") for n, v in fields)
    dropped = _KEY_NAMES | _SIGNATURE_NAMES if signed else _KEY_NAMES
    kept = []
    for name, value in fields:
        if name.lower() == _PROTOCOLS and SUBPROTOCOL_KEY.encode() in value:
            value = _without_subprotocol(value)
        if name.lower() not in dropped and not (name.lower() == _PROTOCOLS and not value):
            kept.append((name, value))
    pairs = _query(path)
    rest = [pair for pair in pairs if not _is_key(pair)]
    if len(rest) == len(pairs):
        return kept, path
    place = path.partition("?")[0]
    return kept, f"{place}?{'&'.join(rest)}" if rest else place


def placed(fields: Fields, path: str, form: Form, value: str) -> Placed:
    """The request with ``value`` as its one credential; not for ``sigv4``, which is a signature.

    A stated identity stands beside the caller's own credential, and in place of a claimed one.
    """
    if form == IDENTITY_HEADER:
        stated = IDENTITY_HEADER.encode()
        rest = [(name, old) for name, old in fields if name.lower() != stated]
        return [*rest, (stated, value.encode())], path
    kept, path = without_credentials(fields, path)
    if form == "key":
        return kept, f"{path}{'&' if '?' in path else '?'}key={quote(value, safe='')}"
    name = b"authorization" if form == "bearer" else form.encode()
    text = (f"Bearer {value}" if form == "bearer" else value).encode()
    at = next((i for i, (old, _) in enumerate(fields) if old.lower() == name), None)
    if at is None:
        return [*kept, (b"Authorization" if form == "bearer" else name, text)], path
    before = sum(1 for field in fields[:at] if field in kept)
    return [*kept[:before], (fields[at][0], text), *kept[before:]], path


def _query(path: str) -> list[str]:
    query = path.partition("?")[2]
    return query.split("&") if query else []


def _is_key(pair: str) -> bool:
    name = unquote_plus(pair.partition("=")[0]).lower()
    return name in KEY_PARAMETERS or name in ("x-amz-signature", "x-amz-security-token")


def _without_subprotocol(value: bytes) -> bytes:
    names = (name.strip() for name in value.split(b","))
    return b", ".join(name for name in names if not name.startswith(SUBPROTOCOL_KEY.encode()))
