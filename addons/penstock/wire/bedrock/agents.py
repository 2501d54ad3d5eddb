"""Bedrock agents, knowledge bases and guardrails.

Source: Bedrock Agents Runtime API reference ("InvokeAgent", "RetrieveAndGenerate",
"Retrieve"), Bedrock Runtime ("ApplyGuardrail"). The agent's instructions, tools and sources
stay with the provider; only the new turn is on the wire.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from penstock.exchange import Exchange, HttpAnswer, HttpRequest, Message, Part
from penstock.wire.bedrock.family import BedrockFamily, BedrockStreamFamily, stream_error
from penstock.wire.edits import BASE64
from penstock.wire.family import AnswerReader, Channel, Delta, Family
from penstock.wire.growing import OneMessageReader
from penstock.wire.json_family import string_deltas
from penstock.wire.loose import as_dict, as_list, as_text, at
from penstock.wire.zones import Mark, Marks, read_field

_AGENT = re.compile(r"/agents/([^/]+)/agentAliases/([^/]+)/sessions/([^/]+)/text$")
_TEXT = Channel(("bytes",), "assistant")


class Agent(BedrockStreamFamily):
    """``POST /agents/{id}/agentAliases/{alias}/sessions/{session}/text``."""

    api = "bedrock.agent"
    operation = "invoke_agent"
    path = _AGENT

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The input text; agent, alias and session by name."""
        exchange.stream = True
        named = _AGENT.search(request.path.partition("?")[0])
        if named is not None:
            exchange.references |= {"agent": named[1], "session": named[3]}
        marks[("sessionState", "returnControlInvocationResults")] = Mark("tool_result")
        read_field(exchange, document, "inputText", marks)

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of agent frames."""
        return AgentReader(exchange)


class AgentReader(OneMessageReader):
    """Reads agent frames: chunks of base64 text, traces, calls handed back to the caller."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one frame."""
        event = as_dict(document)
        self.answer.error = stream_error(name, event) or self.answer.error
        coded = as_text(event.get("bytes"))
        if name != "chunk" or coded is None:
            zone = Mark("tool_arguments" if name == "returnControl" else "other")
            return string_deltas(event, {(): zone}, (name or "",))
        marks: Marks = {("bytes",): Mark(editable=False), ("attribution",): Mark("tool_result")}
        deltas = string_deltas(event, marks, ("chunk",))
        try:
            text = base64.b64decode(coded).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return deltas
        self.growing.say(self.message, "text", text)
        return [Delta(_TEXT, ("bytes", BASE64), text), *deltas]

    def end(self) -> None:
        """Join the pieces; an agent's stream has no end marker but its text having come."""
        super().end()
        self.answer.complete = bool(self.message.parts) and self.answer.error is None


class KnowledgeBase(BedrockFamily):
    """``POST /retrieveAndGenerate`` and ``/knowledgebases/{id}/retrieve``."""

    api = "bedrock.knowledge_base"
    operation = "retrieve"
    path = re.compile(r"/retrieveAndGenerate$|/knowledgebases/[^/]+/retrieve$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The question; where the provider looks for the answer is a reference."""
        for path in (("input", "text"), ("retrievalQuery", "text")):
            text = as_text(at(document, *path))
            if text is not None:
                marks[path] = Mark("user")
                exchange.messages = [Message("user", [Part("text", text=text)])]
        configuration = as_dict(document.get("retrieveAndGenerateConfiguration"))
        for kind in ("knowledgeBaseConfiguration", "externalSourcesConfiguration"):
            inner = as_dict(configuration.get(kind))
            exchange.model = as_text(inner.get("modelArn")) or exchange.model
            if inner:
                sources = inner.get("knowledgeBaseId", inner.get("sources"))
                exchange.references["knowledge_base"] = sources
        session = as_text(document.get("sessionId"))
        if session:
            exchange.references["session"] = session

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The text made; what was retrieved for it came from outside."""
        marks[("citations",)] = marks[("retrievalResults",)] = Mark("tool_result")
        marks[("output",)] = Mark("assistant")
        text = as_text(at(document, "output", "text"))
        if exchange.answer is not None and text is not None:
            exchange.answer.messages = [Message("assistant", [Part("text", text=text)])]


class ApplyGuardrail(BedrockFamily):
    """``POST /guardrail/{id}/version/{version}/apply``: judge a text, generate none."""

    api = "bedrock.apply_guardrail"
    operation = "guardrail"
    path = re.compile(r"/guardrail/[^/]+/version/[^/]+/apply$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The texts to judge; ``source`` says whose they are."""
        output = document.get("source") == "OUTPUT"
        marks[("content",)] = Mark("assistant" if output else "user")
        texts = [as_text(at(item, "text", "text")) for item in as_list(document.get("content"))]
        parts = [Part("text", text=text) for text in texts if text is not None]
        exchange.messages = [Message("assistant" if output else "user", parts)]


FAMILIES: tuple[Family, ...] = (Agent(), KnowledgeBase(), ApplyGuardrail())
