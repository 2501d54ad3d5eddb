"""A target's error in the caller's own error shape.

Sources: OpenAI "Error codes", Anthropic "Errors", google.rpc.Code. The class of an error is
told by its status, in a stream by the word that stands there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from penstock.exchange import CallError
from penstock.wire.anthropic.stream import read_error as read_anthropic_error
from penstock.wire.gemini.content import read_error as read_gemini_error
from penstock.wire.loose import as_dict, as_text
from penstock.wire.openai.family import error_of as read_openai_error

Format = Literal["openai", "anthropic", "gemini"]
# Where Anthropic's messages are served (``route.homes``).
Home = Literal["anthropic", "vertex", "bedrock"]
# Anthropic's own status for "overloaded"; the others say 503.
OVERLOADED, UNAVAILABLE = 529, 503
# An error says what is wrong in a few sentences.
MESSAGE_CHARACTERS = 4000


@dataclass(slots=True, frozen=True)
class Kind:
    """One class of errors in the words of each format (OpenAI: type and code)."""

    status: int
    anthropic: str
    openai: tuple[str, str | None]
    google: str


KINDS = {
    "invalid": Kind(
        400, "invalid_request_error", ("invalid_request_error", None), "INVALID_ARGUMENT"
    ),
    "unauthenticated": Kind(
        401,
        "authentication_error",
        ("invalid_request_error", "invalid_api_key"),
        "UNAUTHENTICATED",
    ),
    "forbidden": Kind(
        403, "permission_error", ("permission_error", "permission_denied"), "PERMISSION_DENIED"
    ),
    "absent": Kind(404, "not_found_error", ("invalid_request_error", "not_found"), "NOT_FOUND"),
    "too_large": Kind(
        413,
        "request_too_large",
        ("invalid_request_error", "request_too_large"),
        "INVALID_ARGUMENT",
    ),
    "limited": Kind(
        429, "rate_limit_error", ("requests", "rate_limit_exceeded"), "RESOURCE_EXHAUSTED"
    ),
    "overloaded": Kind(503, "overloaded_error", ("server_error", "overloaded"), "UNAVAILABLE"),
    "server": Kind(500, "api_error", ("server_error", None), "INTERNAL"),
}
_WORDS = {
    **{kind.anthropic: name for name, kind in KINDS.items()},
    **{kind.google: name for name, kind in KINDS.items() if name != "too_large"},
    "DEADLINE_EXCEEDED": "server",
    "timeout_error": "server",
    "billing_error": "forbidden",
    "invalid_request_error": "invalid",
    "requests": "limited",
    "tokens": "limited",
    "rate_limit_exceeded": "limited",
    "insufficient_quota": "limited",
    "overloaded": "overloaded",
    "server_error": "server",
}


def kind_of_status(status: int) -> str:
    """The class of an error by its status."""
    if status in (OVERLOADED, UNAVAILABLE):
        return "overloaded"
    if status >= 500:
        return "server"
    return next((name for name, kind in KINDS.items() if kind.status == status), "invalid")


def kind_of_word(word: str | None) -> str:
    """The class of an error by what a stream calls it; what nobody knows is the target's fault."""
    if word is not None and word.isdigit() and len(word) == 3:
        return kind_of_status(int(word))
    return _WORDS.get(word or "", "server")


def status_for(status: int, caller: Format) -> int:
    """The status the caller's SDK knows."""
    return UNAVAILABLE if status == OVERLOADED and caller != "anthropic" else status


def read_error(source: Format, status: int, document: Any) -> CallError:
    """What a target's plain error says; an error in no known shape says its status only."""
    found: CallError | None
    if source == "openai":
        found = read_openai_error(status, document)
    elif source == "gemini":
        found = read_gemini_error(document)
    else:
        found = read_anthropic_error(document) if as_dict(document).get("error") else None
    found = found or CallError(None, as_text(as_dict(document).get("message")))
    message = found.message or f"The target answered with status {status}."
    return CallError(found.type, message[:MESSAGE_CHARACTERS])


def error_document(caller: Format, kind: str, message: str, status: int | None = None) -> Any:
    """The body of an error in the caller's format."""
    words = KINDS[kind]
    if caller == "anthropic":
        error: dict[str, Any] = {"type": words.anthropic, "message": message}
        return {"type": "error", "error": error}
    if caller == "openai":
        name, code = words.openai
        return {"error": {"message": message, "type": name, "param": None, "code": code}}
    number = words.status if status is None else status
    return {"error": {"code": number, "message": message, "status": words.google}}
