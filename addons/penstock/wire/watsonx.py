"""IBM watsonx.ai text generation, plain and streamed; Aleph Alpha's completion.

Sources: watsonx.ai API reference ("Text generation"), Aleph Alpha API reference
("Completion"). A stream's token counts are running totals, the input's stands only on the
first event, and ``not_finished`` is no reason to end.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import (
    CallError,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Message,
    Part,
    Usage,
)
from penstock.wire.family import AnswerReader, Channel, Delta, Family, Framing, Refusal
from penstock.wire.growing import OneMessageReader
from penstock.wire.json_family import JsonFamily, string_deltas
from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, at, counted, renamed
from penstock.wire.zones import Mark, Marks, read_field, strings

_PARAMETERS = {"max_new_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p"}


class Generation(JsonFamily):
    """``POST /ml/{version}/generation/text`` and ``/ml/{version}/text/generation``."""

    api = "watsonx.generation"
    operation = "text_completion"
    path = re.compile(r"/ml/v1[^/]*/(generation/text|text/generation)$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The input and its parameters."""
        exchange.model = as_text(document.get("model_id"))
        read_field(exchange, document, "input", marks)
        exchange.parameters |= renamed(document.get("parameters"), _PARAMETERS)

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """One JSON object."""
        return "none"

    def read_error(self, answer: HttpAnswer, document: Any) -> CallError | None:
        """A list of errors with a code each."""
        if answer.status < 400:
            return None
        code, said = at(document, "errors", 0, "code"), at(document, "errors", 0, "message")
        return CallError(as_text(code), as_text(said))

    def error_document(self, refusal: Refusal) -> Any:
        """IBM's error container."""
        return {
            "errors": [{"code": refusal.code, "message": refusal.message}],
            "trace": refusal.decision_id,
            "status_code": refusal.status,
        }

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """One message for each result; counts of all of them."""
        if exchange.answer is None:
            return
        exchange.answer.model = as_text(at(document, "model_id"))
        results = as_dicts(at(document, "results"))
        for index, result in enumerate(results):
            marks[("results", index, "generated_text")] = Mark("assistant")
            text, reason = as_text(result.get("generated_text")), as_text(result.get("stop_reason"))
            message = Message("assistant", [Part("text", text=text)], reason)
            exchange.answer.messages.append(message)
        if results:
            exchange.answer.usage = _usage(
                as_count(results[0].get("input_token_count")),
                as_count(results[0].get("generated_token_count")),
            )


class GenerationStream(Generation):
    """The same paths with ``_stream`` at their end."""

    api = "watsonx.generation_stream"
    path = re.compile(r"/ml/v1[^/]*/(generation/text_stream|text/generation_stream)$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """As for the plain call."""
        super().fill_request(exchange, request, document, marks)
        exchange.stream = True

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """SSE where the bytes or the type say so."""
        return JsonFamily.framing(self, exchange, answer, first_bytes)

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of result events."""
        return GenerationReader(exchange)


class GenerationReader(OneMessageReader):
    """Reads one streamed generation."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event."""
        event = as_dict(document)
        if name == "error" or event.get("errors"):
            said = as_text(at(event, "errors", 0, "message"))
            self.answer.error = CallError(as_text(at(event, "errors", 0, "code")), said)
        self.answer.model = as_text(event.get("model_id")) or self.answer.model
        sealed = Mark(editable=False)
        marks: Marks = {("model_id",): sealed, ("created_at",): sealed}
        deltas: list[Delta] = []
        for index, result in enumerate(as_list(event.get("results"))):
            path = ("results", index, "generated_text")
            marks[path] = marks[("results", index, "stop_reason")] = sealed
            self._count(as_dict(result))
            text = as_text(at(result, "generated_text"))
            if text:
                self.growing.say(self.message, "text", text)
                deltas.append(Delta(Channel(("generated_text",), "assistant"), path, text))
        return deltas + string_deltas(event, marks)

    def _count(self, result: dict[str, Any]) -> None:
        reason = as_text(result.get("stop_reason"))
        if reason is not None and reason != "not_finished":
            self.message.finish_reason = reason
            self.answer.complete = True
        # Later events say 0 for the input: the first true count stays.
        fresh = as_count(result.get("input_token_count")) or self.answer.usage.input_tokens
        output = as_count(result.get("generated_token_count"))
        if output is None:
            output = self.answer.usage.output_tokens
        self.answer.usage = _usage(fresh, output)


class AlephAlphaComplete(JsonFamily):
    """``POST /complete`` at Aleph Alpha; the prompt may be a list of texts and images."""

    api = "aleph_alpha.complete"
    operation = "text_completion"
    path = re.compile(r"^/complete$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The prompt's texts."""
        exchange.model = as_text(document.get("model"))
        exchange.stream = document.get("stream") is True
        if "maximum_tokens" in document:
            exchange.parameters["max_tokens"] = document["maximum_tokens"]
        marks[("prompt",)] = Mark("user")
        prompt = document.get("prompt")
        texts = [item.get("data") for item in as_dicts(prompt) if item.get("type") == "text"]
        if isinstance(prompt, str):
            texts = [prompt]
        parts = [Part("text", text=text) for text in strings(texts)]
        exchange.messages = [Message("user", parts)] if parts else []

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """One message for each completion."""
        if exchange.answer is None:
            return
        marks[("completions",)] = Mark("assistant")
        for completion in as_dicts(at(document, "completions")):
            text = as_text(completion.get("completion"))
            reason = as_text(completion.get("finish_reason"))
            message = Message("assistant", [Part("text", text=text)], reason)
            exchange.answer.messages.append(message)
        exchange.answer.usage = _usage(
            as_count(at(document, "num_tokens_prompt_total")),
            as_count(at(document, "num_tokens_generated")),
        )

    def error_document(self, refusal: Refusal) -> Any:
        """Aleph Alpha's error: a code and a text."""
        return {"error": refusal.message, "code": refusal.code.upper()}


def _usage(fresh: int | None, output: int | None) -> Usage:
    return counted(fresh, output, ("prompt_tokens", "completion_tokens"))


FAMILIES: tuple[Family, ...] = (GenerationStream(), Generation(), AlephAlphaComplete())
