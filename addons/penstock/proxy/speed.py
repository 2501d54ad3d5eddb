"""Speed only: removes a check of the core that costs a tenth of each call and finds nothing.

The core verifies the annotated type of every field of every message it builds. It is the
one class attribute we replace; where its source is not the one that was read and
measured, it stays as it is.
"""

from __future__ import annotations

import hashlib
import inspect

from mitmproxy.http import MessageData

KNOWN_SOURCE = "f65088e210cd9cc1dc277086ee4c7f5701d433b02e6f1d81a2ac22f94c484414"


def _unchecked(_message: MessageData) -> None:
    """Stand in for the check."""


def drop_message_checks() -> bool:
    """Replace the check where it is the known one; False when it was left alone."""
    check = getattr(MessageData, "__post_init__", None)
    if check is _unchecked:
        return True
    if check is None or _fingerprint(check) != KNOWN_SOURCE:
        return False
    MessageData.__post_init__ = _unchecked  # type: ignore[method-assign]
    return True


def _fingerprint(function: object) -> str:
    source = inspect.getsource(function)  # type: ignore[arg-type] # a function
    return hashlib.sha256(source.encode()).hexdigest()
