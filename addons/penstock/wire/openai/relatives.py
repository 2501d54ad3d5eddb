"""Services that speak OpenAI's chat shape at paths of their own: Writer, Portkey, watsonx.

Sources: Writer API reference ("Chat completion"), Portkey API reference ("Prompt
completions": the prompt is stored there, only its variables are on the wire), IBM watsonx.ai
API reference ("Text chat": the model is ``model_id``).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from penstock.exchange import Destination, Exchange, HttpRequest, Message, Part
from penstock.wire.family import Family
from penstock.wire.loose import as_dict, as_text
from penstock.wire.openai.chat import ChatCompletions
from penstock.wire.service_family import at_host
from penstock.wire.zones import strings

_PROMPT = re.compile(r"/v1/prompts/([^/]+)/completions$")


class WriterChat(ChatCompletions):
    """``POST /v1/chat`` at Writer."""

    api = "writer.chat"
    path = re.compile(r"/v1/chat$")

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """Others have the same path: the host must be Writer's."""
        return at_host(request, ("writer.com",)) and super().recognise(request, destination)


class PortkeyPrompt(ChatCompletions):
    """``POST /v1/prompts/{id}/completions``: a stored prompt and its variables."""

    api = "portkey.prompt_completions"
    path = _PROMPT

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """The stored prompt is a reference; its variables are what the caller says."""
        exchange = super().read_request(request, destination)
        named = _PROMPT.search(request.path.partition("?")[0])
        if named is not None:
            exchange.references["prompt"] = unquote(named[1])
        for leaf in exchange.leaves:
            if leaf.path[:1] == ("variables",):
                leaf.zone = "user"
        return exchange

    def fill_request(self, exchange: Exchange, document: dict[str, Any]) -> None:
        """Variables as one user message."""
        super().fill_request(exchange, document)
        parts = [Part("text", text=text) for text in strings(document.get("variables"))]
        if parts:
            exchange.messages.append(Message("user", parts))


class WatsonxChat(ChatCompletions):
    """``POST /ml/v1/text/chat`` and its stream."""

    api = "watsonx.chat"
    path = re.compile(r"/ml/v1[^/]*/text/chat(_stream)?$")

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """As chat; streamed by path."""
        exchange = super().read_request(request, destination)
        exchange.model = as_text(as_dict(exchange.document).get("model_id"))
        exchange.stream = request.path.partition("?")[0].endswith("_stream")
        return exchange


FAMILIES: tuple[Family, ...] = (WriterChat(), PortkeyPrompt(), WatsonxChat())
