"""OpenAI Chat Completions, as served by OpenAI, Azure and some thirty compatible services.

Source: OpenAI API reference, "Chat completions"; provider oddities from recorded traffic.
Streams are read in ``openai_chat_stream``. Usage comes on a stream only when asked for:
``ask_for_usage`` adds the wish, ``is_usage_only`` knows the chunk that answers it.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import Answer, Destination, Exchange, HttpRequest, Leaf, Message, Path
from penstock.wire import json_leaves
from penstock.wire.family import AnswerReader, Family
from penstock.wire.json_spans import insert_member, replace_value
from penstock.wire.logprobs import note_choice
from penstock.wire.loose import as_dict, as_dicts, as_list, as_text, at
from penstock.wire.openai.chat_stream import ChatReader
from penstock.wire.openai.content import read_content, read_message, read_tools
from penstock.wire.openai.family import OpenAIFamily, read_usage

# Fields of a message in which OpenRouter and LiteLLM carry other providers' thoughts.
THOUGHTS = ("reasoning_details", "thinking_blocks")
ENCRYPTED = frozenset(("reasoning.encrypted", "redacted_thinking"))


class ChatCompletions(OpenAIFamily):
    """``POST …/chat/completions``."""

    api = "openai.chat_completions"
    operation = "chat"
    path = re.compile(r"/chat/completions/?$")

    def fill_request(self, exchange: Exchange, document: dict[str, Any]) -> None:
        """Messages, tools, and whether a usage chunk is wanted."""
        exchange.messages = [read_message(turn) for turn in as_dicts(document.get("messages"))]
        exchange.tools = read_tools(document)
        wish = at(document, "stream_options", "include_usage")
        exchange.include_usage = wish if isinstance(wish, bool) else None
        exchange.references = _references(exchange, document)
        signed = _signed_thoughts(document)
        for leaf in exchange.leaves if signed else ():
            leaf.editable = leaf.editable and leaf.path[:4] not in signed

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """One message per choice."""
        for choice in as_dicts(document.get("choices")):
            message = read_message({"role": "assistant", **as_dict(choice.get("message"))})
            message.finish_reason = as_text(choice.get("finish_reason")) or None
            answer.messages.append(message)
            if choice.get("logprobs"):
                note_choice(answer, choice["logprobs"])
        usage = document.get("usage") or at(document, "x_groq", "usage")
        if isinstance(usage, dict):
            answer.usage = read_usage(usage)

    def answer_leaves(self, document: Any) -> list[Leaf]:
        """The strings; log probabilities repeat the text of their choice."""
        leaves = super().answer_leaves(document)
        shadows: dict[Path, Path] = {
            ("choices", index): ("choices", index, "logprobs")
            for index, choice in enumerate(as_dicts(as_dict(document).get("choices")))
            if choice.get("logprobs")
        }
        for leaf in leaves if shadows else ():
            shadow = shadows.get(leaf.path[:2])
            if shadow and leaf.path[2:3] == ("message",):
                leaf.shadows = (shadow,)
        return leaves

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of chat chunks."""
        return ChatReader(exchange)


class ChatByShape(ChatCompletions):
    """Chat at a path nobody published: a self-hosted model, a gateway of one's own."""

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """True when the body names a model and has turns with roles."""
        body = request.body
        if request.method != "POST" or b'"messages"' not in body or b'"role"' not in body:
            return False
        document = as_dict(json_leaves.parse(body).value)
        turns = as_dicts(document.get("messages"))
        return "model" in document and bool(turns) and all("role" in turn for turn in turns)


class Completions(OpenAIFamily):
    """``POST …/completions`` (legacy): a prompt instead of messages."""

    api = "openai.completions"
    operation = "text_completion"
    path = re.compile(r"(?<!/chat)/completions/?$")

    def fill_request(self, exchange: Exchange, document: dict[str, Any]) -> None:
        """The prompt (or several) as one user message."""
        parts = read_content(document.get("prompt"))
        exchange.messages = [Message("user", parts)] if parts else []
        wish = at(document, "stream_options", "include_usage")
        exchange.include_usage = wish if isinstance(wish, bool) else None

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """One message per choice."""
        for choice in as_dicts(document.get("choices")):
            message = Message("assistant", read_content(choice.get("text")))
            message.finish_reason = as_text(choice.get("finish_reason")) or None
            answer.messages.append(message)
            if choice.get("logprobs"):
                note_choice(answer, choice["logprobs"])
        usage = document.get("usage")
        if isinstance(usage, dict):
            answer.usage = read_usage(usage)

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """Chunks carry ``text`` in the choice itself."""
        return ChatReader(exchange)


def _signed_thoughts(document: dict[str, Any]) -> set[Path]:
    """Where thoughts stand that gateways pass on for providers that sign or encrypt them."""
    return {
        ("messages", turn, field, index)
        for turn, message in enumerate(as_list(document.get("messages")))
        if type(message) is dict
        for field in THOUGHTS
        if field in message
        for index, block in enumerate(as_list(message[field]))
        if type(block) is dict and (block.get("signature") or block.get("type") in ENCRYPTED)
    }


def _references(exchange: Exchange, document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    files = [
        part.uri
        for message in exchange.messages
        for part in message.parts
        if part.kind == "uri" and part.uri and "://" not in part.uri
    ]
    if files:
        found["file_ids"] = files
    audio = at(document, "audio", "id")
    if audio:
        found["audio"] = audio
    return found


def ask_for_usage(body: bytes) -> bytes:
    """The body with ``stream_options.include_usage`` set to true; no other byte moves.

    For OpenAI and Azure streams: without it they report no usage.
    """
    changed = replace_value(body, ("stream_options", "include_usage"), b"true")
    if changed is not body:
        return changed
    changed = insert_member(body, ("stream_options",), "include_usage", b"true")
    if changed is not body:
        return changed
    wish = b'{"include_usage":true}'
    changed = replace_value(body, ("stream_options",), wish)
    return insert_member(body, (), "stream_options", wish) if changed is body else changed


def is_usage_only(document: Any) -> bool:
    """True for the extra chunk that ``include_usage`` brings: usage and an empty ``choices``."""
    return type(document) is dict and document.get("choices") == [] and bool(document.get("usage"))


FAMILIES: tuple[Family, ...] = (ChatCompletions(), Completions())
BY_SHAPE: tuple[Family, ...] = (ChatByShape(),)
