"""OpenAI APIs beside chat: embeddings, moderations, images, audio, video.

Source: OpenAI API reference. Transcriptions are uploads (multipart), speech answers raw
sound; text travels in ``input``, ``prompt`` and ``text``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from penstock.exchange import Answer, Exchange, HttpAnswer, Leaf, Message, Part
from penstock.wire.family import AnswerReader, Channel, Delta, Family
from penstock.wire.json_family import started_answer
from penstock.wire.json_leaves import Reading, ZoneMap
from penstock.wire.loose import as_dict, as_dicts, as_list, as_text
from penstock.wire.multipart import Form
from penstock.wire.openai.content import read_content
from penstock.wire.openai.family import ZONES, OpenAIFamily, error_in, read_usage
from penstock.wire.unknown import UnknownReader


class Media(OpenAIFamily):
    """What these APIs share: one text in, usage out."""

    zones = ZoneMap(fields={**ZONES.fields, "text": "user"}, types=ZONES.types, sealed=ZONES.sealed)

    def fill_request(self, exchange: Exchange, document: dict[str, Any]) -> None:
        """The prompt or input as one user message."""
        parts = read_content(document.get("input", document.get("prompt")))
        system = read_content(document.get("instructions"))
        exchange.messages = [Message("system", system)] if system else []
        exchange.messages += [Message("user", parts)] if parts else []

    def fill_form(self, exchange: Exchange, form: Form) -> None:
        """The prompt field as a user message, the uploads as blobs."""
        prompt = form.value("prompt")
        parts = [Part("text", prompt)] if prompt else []
        parts += [
            Part("blob", mime_type=field.content_type, size_bytes=field.size_bytes)
            for field in form.fields
            if field.filename is not None
        ]
        exchange.messages = [Message("user", parts)] if parts else []

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """Usage, where there is one."""
        usage = document.get("usage")
        if isinstance(usage, dict):
            answer.usage = read_usage(usage)


class Embeddings(Media):
    """``POST …/embeddings``."""

    api = "openai.embeddings"
    operation = "embeddings"
    path = re.compile(r"/embeddings/?$")

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """How many vectors came back."""
        super().fill_answer(exchange, answer, document)
        answer.embedding_count = len(as_list(document.get("data"))) or None


class Moderations(Media):
    """``POST …/moderations``."""

    api = "openai.moderations"
    operation = "moderation"
    path = re.compile(r"/moderations/?$")


class ImageGenerations(Media):
    """``POST …/images/generations``."""

    api = "openai.images.generations"
    operation = "image_generation"
    path = re.compile(r"/images/generations/?$")

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """Usage and the prompt as the model rewrote it."""
        super().fill_answer(exchange, answer, document)
        rewritten = [
            as_text(image.get("revised_prompt")) for image in as_dicts(document.get("data"))
        ]
        answer.messages = [Message("assistant", [Part("text", t)]) for t in rewritten if t]


class ImageEdits(ImageGenerations):
    """``POST …/images/edits`` and ``…/images/variations``."""

    api = "openai.images.edits"
    path = re.compile(r"/images/(?:edits|variations)/?$")


class Videos(Media):
    """``POST …/videos``; the result is fetched later."""

    api = "openai.videos"
    operation = "video_generation"
    common_path = True
    path = re.compile(r"/v1/videos(?:/[^/]+){0,2}/?$")


class Speech(Media):
    """``POST …/audio/speech``: text in, raw sound (or SSE with coded sound) out."""

    api = "openai.audio.speech"
    operation = "text_to_speech"
    path = re.compile(r"/audio/speech/?$")

    def read_body(self, answer: HttpAnswer) -> Reading:
        """Sound is not read."""
        return super().read_body(answer) if answer.body[:1] == b"{" else Reading()


class Transcriptions(Media):
    """``POST …/audio/transcriptions``: sound in, text out (JSON, plain, subtitles or SSE)."""

    api = "openai.audio.transcriptions"
    operation = "transcription"
    path = re.compile(r"/audio/transcriptions/?$")

    def read_answer(self, exchange: Exchange, answer: HttpAnswer) -> Sequence[Leaf]:
        """JSON, or the text itself."""
        leaves = super().read_answer(exchange, answer)
        if exchange.answer is not None and len(leaves) == 1 and not leaves[0].path:
            exchange.answer.messages = [Message("assistant", [Part("text", leaves[0].text)])]
        return leaves

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """The transcript is the answer's text."""
        super().fill_answer(exchange, answer, document)
        text = as_text(document.get("text"))
        if text is not None:
            answer.messages = [Message("assistant", [Part("text", text)])]

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of transcript events."""
        return TranscriptReader(exchange)


class Translations(Transcriptions):
    """``POST …/audio/translations``."""

    api = "openai.audio.translations"
    operation = "translation"
    path = re.compile(r"/audio/translations/?$")


class TranscriptReader(UnknownReader):
    """``transcript.text.delta`` and its closing copy."""

    _TEXT = Channel(("transcript",), "assistant")

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.answer = started_answer(exchange)
        self._pieces: list[str] = []
        self._whole: str | None = None

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """One event: a piece, the whole text, or an error."""
        fields = as_dict(document)
        kind = fields.get("type")
        delta, text = fields.get("delta"), fields.get("text")
        if isinstance(fields.get("usage"), dict):
            self.answer.usage = read_usage(fields["usage"])
        if kind == "transcript.text.delta" and isinstance(delta, str):
            self._pieces.append(delta)
            return [Delta(self._TEXT, ("delta",), delta)] if delta else []
        if kind == "transcript.text.done" and isinstance(text, str):
            self._whole = text
            self.answer.complete = True
            return [Delta(self._TEXT, ("text",), text, last=True, total=True)]
        if isinstance(fields.get("error"), dict):
            self.answer.error = error_in(fields["error"])
        return super().event(name, document)

    def end(self) -> None:
        """The transcript as the answer's one message."""
        text = "".join(self._pieces) if self._whole is None else self._whole
        self.answer.messages = [Message("assistant", [Part("text", text)])] if text else []


FAMILIES: tuple[Family, ...] = (
    Embeddings(),
    Moderations(),
    ImageGenerations(),
    ImageEdits(),
    Speech(),
    Transcriptions(),
    Translations(),
    Videos(),
)
