"""Gemini answer streams: chunks of ``streamGenerateContent`` into an Answer.

Source: Gemini API reference, "GenerateContentResponse". Each chunk is a whole response with
the next pieces of text; usage is cumulative, some fields missing in some chunks: the last
value of each is kept. The stream has no end marker but the candidates' finish reasons.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Answer, Exchange, Message, PartKind, Path, Zone
from penstock.wire.family import Channel, Delta
from penstock.wire.gemini.content import pick, read_error, read_part, read_usage
from penstock.wire.growing import Growing
from penstock.wire.json_family import started_answer, string_deltas
from penstock.wire.logprobs import note
from penstock.wire.loose import as_dict, as_list, as_text
from penstock.wire.zones import Mark, Marks

# candidateCount may be at most 8 (GenerationConfig); an index far above it is none.
CANDIDATES_MAX = 64

SEALED = Mark(editable=False)
# Named by the protocol in every chunk: not content, nothing for a rule to change.
_PROTOCOL = ("modelVersion", "responseId", "createTime", "usageMetadata", "error")
_CANDIDATE_PROTOCOL = ("finishReason", "safetyRatings")


class GeminiReader:
    """Reads one streamed answer, of either framing."""

    def __init__(self, exchange: Exchange) -> None:
        self.answer: Answer = started_answer(exchange)
        self.growing = Growing()
        self.usage: dict[str, Any] = {}

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one chunk (bare, or wrapped in ``response`` by Code Assist); return its texts."""
        self.answer.error = read_error(document) or self.answer.error
        chunk, base = unwrapped(as_dict(document))
        self._facts(chunk)
        marks: Marks = {(*base, field): SEALED for field in _PROTOCOL}
        deltas: list[Delta] = []
        for position, candidate in enumerate(as_list(chunk.get("candidates"))):
            path = (*base, "candidates", position)
            deltas += self._candidate(as_dict(candidate), path, marks)
        reasons = [message.finish_reason for message in self.answer.messages]
        self.answer.complete = bool(reasons) and all(reasons)
        return deltas + string_deltas(document, marks)

    def end(self) -> None:
        """Join the texts; a candidate without a finish reason leaves the answer incomplete."""
        self.growing.settle()

    def _facts(self, chunk: dict[str, Any]) -> None:
        self.answer.id = as_text(chunk.get("responseId")) or self.answer.id
        self.answer.model = as_text(chunk.get("modelVersion")) or self.answer.model
        usage = as_dict(chunk.get("usageMetadata"))
        if usage:
            self.usage |= usage
            self.answer.usage = read_usage(self.usage)
        blocked = block_reason(chunk)
        if blocked:
            self._message(0).finish_reason = blocked

    def _candidate(self, candidate: dict[str, Any], path: Path, marks: Marks) -> list[Delta]:
        index = candidate.get("index")
        index = index if isinstance(index, int) and 0 <= index < CANDIDATES_MAX else 0
        message = self._message(index)
        message.finish_reason = as_text(candidate.get("finishReason")) or message.finish_reason
        note(self.answer, candidate.get("avgLogprobs"))
        marks[path] = Mark("assistant")
        marks[(*path, "groundingMetadata")] = Mark("tool_result")
        marks[(*path, "content", "role")] = SEALED
        for field in _CANDIDATE_PROTOCOL:
            marks[(*path, field)] = SEALED
        deltas: list[Delta] = []
        for position, part in enumerate(as_list(as_dict(candidate.get("content")).get("parts"))):
            place = (*path, "content", "parts", position)
            deltas += self._part(as_dict(part), place, index, message, marks)
        return deltas

    def _part(
        self, part: dict[str, Any], path: Path, index: int, message: Message, marks: Marks
    ) -> list[Delta]:
        text = as_text(part.get("text"))
        if text is None:
            name, call = pick(part, "functionCall")
            pieces = as_list(as_dict(call).get("partialArgs"))
            if pieces:
                return self._partial(as_dict(call), (*path, name), index, message, marks)
            self.growing.take(message, read_part(part, path, "assistant", marks))
            return []
        thought = part.get("thought") is True
        kind: PartKind = "reasoning" if thought else "text"
        zone: Zone = "reasoning" if thought else "assistant"
        marks[(*path, "text")] = SEALED
        if not text:
            return []
        self.growing.say(message, kind, text)
        return [Delta(Channel((index, kind), zone), (*path, "text"), text)]

    def _partial(
        self, call: dict[str, Any], path: Path, index: int, message: Message, marks: Marks
    ) -> list[Delta]:
        """Arguments that arrive in pieces, each at its JSON path (Vertex, streamed arguments)."""
        marks[path] = Mark("tool_arguments")
        if as_text(call.get("name")) or not message.parts or message.parts[-1].kind != "tool_call":
            begun = read_part({"functionCall": call}, path, "assistant", {})
            begun[0].arguments = {}
            self.growing.take(message, begun)
        arguments = as_dict(message.parts[-1].arguments)
        deltas: list[Delta] = []
        for position, piece in enumerate(as_list(call.get("partialArgs"))):
            place = (*path, "partialArgs", position)
            where = as_text(as_dict(piece).get("jsonPath")) or ""
            marks[(*place, "jsonPath")] = marks[(*place, "stringValue")] = SEALED
            text = as_text(as_dict(piece).get("stringValue"))
            if text is None:
                arguments[where] = as_dict(piece).get(
                    "numberValue", as_dict(piece).get("boolValue")
                )
                continue
            arguments[where] = str(arguments.get(where) or "") + text
            channel = Channel((index, len(message.parts), where), "tool_arguments")
            going_on = as_dict(piece).get("willContinue") is True
            deltas.append(Delta(channel, (*place, "stringValue"), text, last=not going_on))
        return deltas

    def _message(self, index: int) -> Message:
        while len(self.answer.messages) <= index:
            self.answer.messages.append(Message("assistant"))
        return self.answer.messages[index]


def unwrapped(chunk: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    """The response and where it stands: at the root, or in ``response`` (Code Assist)."""
    inner = chunk.get("response")
    if isinstance(inner, dict) and "candidates" not in chunk:
        return inner, ("response",)
    return chunk, ()


def block_reason(chunk: dict[str, Any]) -> str | None:
    """``BLOCKED:<reason>`` when the prompt itself was refused."""
    reason = as_text(as_dict(chunk.get("promptFeedback")).get("blockReason"))
    return f"BLOCKED:{reason}" if reason else None
