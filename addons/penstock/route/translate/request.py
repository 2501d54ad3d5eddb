"""A request in another wire format, or the reason why it cannot be said there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from penstock.route.translate import anthropic_request, gemini_request, openai_request
from penstock.route.translate.conversation import Conversation, UntranslatableError
from penstock.route.translate.errors import Format
from penstock.route.translate.fields import json_text

# The API families that are translated, and their wire formats.
FORMATS: dict[str, Format] = {
    "openai.chat_completions": "openai",
    "anthropic.messages": "anthropic",
    "google.generate_content": "gemini",
    "google.stream_generate_content": "gemini",
}
# What is paid for is said in the words of these.
APIS: dict[Format, str] = {
    "openai": "openai.chat_completions",
    "anthropic": "anthropic.messages",
    "gemini": "google.generate_content",
}
# Request headers that ask for features of one format: they are part of what is said.
FEATURE_HEADERS = ("anthropic-beta", "openai-beta")
# Headers that speak of one format and say nothing in another.
FORMAT_HEADERS = ("anthropic-version", "x-goog-api-client", *FEATURE_HEADERS)
ANTHROPIC_VERSION = "2023-06-01"


@dataclass(slots=True, frozen=True)
class Aim:
    """What a target wants: its format, whose service it is, the model, and a maximum of tokens
    for calls that name none."""

    format: Format
    provider: str | None = None
    model: str | None = None
    max_tokens: int | None = None


@dataclass(slots=True, frozen=True)
class Translated:
    """The request as the target's own clients would send it."""

    path: str
    document: dict[str, Any]
    stream: bool
    wants_usage: bool  # of a stream: the caller hears what was used

    @property
    def body(self) -> bytes:
        """As bytes. A lone surrogate is no character: it leaves as one that says so."""
        return json_text(self.document).encode("utf-8", "replace")


def translate(api: str, document: Any, aim: Aim) -> Translated | str:
    """The call of this family for the target; a string says, by the field's name, why not."""
    source = FORMATS.get(api)
    if source is None:
        return f"{api} is not translated"
    try:
        said = _read(source, api, document)
        _to_be_answered(said)
        said.model = aim.model or said.model
        body = _write(said, aim)
    except UntranslatableError as error:
        return str(error)
    except RecursionError:
        return "the body is too deep to be translated"
    return Translated(_path(said, aim), body, said.stream, said.wants_usage)


def _read(source: Format, api: str, document: Any) -> Conversation:
    if source == "openai":
        return openai_request.read(document)
    if source == "anthropic":
        return anthropic_request.read(document)
    return gemini_request.read(document, None, api == "google.stream_generate_content")


def _to_be_answered(said: Conversation) -> None:
    """Some formats go on with words the assistant has begun, others answer them anew."""
    if said.turns and said.turns[-1].role == "assistant":
        where = said.turns[-1].where
        raise UntranslatableError(where, "the conversation ends with the assistant's own words")


def _write(said: Conversation, aim: Aim) -> dict[str, Any]:
    if aim.format == "openai":
        return openai_request.write(said, aim.provider)
    if aim.format == "anthropic":
        return anthropic_request.write(said, aim.max_tokens)
    return gemini_request.write(said)


def _path(said: Conversation, aim: Aim) -> str:
    """Where the format's own clients send it; a target's base comes in its place later."""
    if aim.format == "openai":
        return "/v1/chat/completions"
    if aim.format == "anthropic":
        return "/v1/messages"
    verb = "streamGenerateContent?alt=sse" if said.stream else "generateContent"
    return f"/v1beta/models/{quote(said.model or '', safe='@.-_')}:{verb}"
