"""Speed only: replaces two slow spots of the core's message classes, changing no result.

The core verifies the annotated type of every field of every message it builds (a tenth of
a call's time), and looks a header up by converting every header's name through two
function calls, some thirty times a call. These class attributes are all we replace; where
a source is not the one that was read and measured, the stock behaviour stays.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable

from mitmproxy.coretypes.multidict import MultiDict
from mitmproxy.http import Headers, MessageData

KNOWN_CHECK = "f65088e210cd9cc1dc277086ee4c7f5701d433b02e6f1d81a2ac22f94c484414"
KNOWN_HEADERS = "600bf471222bd34607ea81fd3349dbf9b29819856cc8fa5d01360d614c798d35"


def drop_message_checks() -> bool:
    """Replace the type check where it is the known one; False when it was left alone."""
    check = getattr(MessageData, "__post_init__", None)
    if check is _unchecked:
        return True
    if check is None or _fingerprint(check) != KNOWN_CHECK:
        return False
    MessageData.__post_init__ = _unchecked  # type: ignore[method-assign]
    return True


def quicken_header_lookup() -> bool:
    """Replace the look-up where it is the known one; False when it was left alone."""
    if Headers.get_all is _get_all:
        return True
    stock = (
        MultiDict.get_all,
        MultiDict.__getitem__,
        Headers.get_all,
        Headers._reduce_values,
        Headers._kconv,
    )
    if _fingerprint(*stock) != KNOWN_HEADERS or "get" in vars(Headers) | vars(MultiDict):
        return False
    Headers.get_all = _get_all  # type: ignore[method-assign,assignment]
    Headers.get = _get  # type: ignore[method-assign,assignment]
    Headers.__contains__ = _contains  # type: ignore[method-assign,assignment]
    return True


def _unchecked(_message: MessageData) -> None:
    """Stand in for the check."""


def _key(name: str | bytes) -> bytes:
    if isinstance(name, str):
        name = name.encode("utf-8", "surrogateescape")
    return name.lower()


def _get_all(headers: Headers, name: str | bytes) -> list[str]:
    key = _key(name)
    length = len(key)
    return [
        value.decode("utf-8", "surrogateescape")
        for field, value in headers.fields
        if len(field) == length and field.lower() == key
    ]


def _get(headers: Headers, name: str | bytes, default: str | None = None) -> str | None:
    values = _get_all(headers, name)
    return ", ".join(values) if values else default


def _contains(headers: Headers, name: str | bytes) -> bool:
    key = _key(name)
    length = len(key)
    return any(len(field) == length and field.lower() == key for field, _ in headers.fields)


def _fingerprint(*functions: Callable[..., object]) -> str:
    source = "".join(inspect.getsource(function) for function in functions)
    return hashlib.sha256(source.encode()).hexdigest()
