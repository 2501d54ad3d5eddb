"""Search, speech, embeddings and batch jobs of single services.

Sources: the API references of Exa, Tavily, Deepgram, xAI, Voyage AI and Mistral ("Batch").
What a search brings back is a tool's result: the place where injected text comes in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from penstock.exchange import Exchange, HttpAnswer, HttpRequest, Message, Part, Usage, Zone
from penstock.wire.family import Family
from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, at
from penstock.wire.service_family import ServiceFamily
from penstock.wire.zones import MEDIA, Mark, Marks


class ExaSearch(ServiceFamily):
    """``POST /search``, ``/contents``, ``/answer`` at Exa."""

    api = "exa.search"
    operation = "search"
    hosts = ("exa.ai",)
    path = re.compile(r"^/(search|contents|answer|findSimilar)$")
    asks: ClassVar[Mapping[str, Zone]] = {"query": "user"}
    says: ClassVar[Mapping[str, Zone]] = {
        "results": "tool_result",
        "citations": "tool_result",
        "context": "tool_result",
        "answer": "assistant",
    }


class TavilySearch(ServiceFamily):
    """``POST /search`` and ``/extract`` at Tavily. Older clients send their key in the body."""

    api = "tavily.search"
    operation = "search"
    hosts = ("tavily.com",)
    path = re.compile(r"^/(search|extract|crawl|map)$")
    asks: ClassVar[Mapping[str, Zone]] = {"query": "user", "urls": "user"}
    says: ClassVar[Mapping[str, Zone]] = {"results": "tool_result", "answer": "assistant"}

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The query; the service's own key is meant for it and stays as it is."""
        super().fill_request(exchange, request, document, marks)
        marks[("api_key",)] = Mark(editable=False)


class VoyageEmbeddings(ServiceFamily):
    """``POST /v1/embeddings`` at Voyage AI: only a total of tokens is told."""

    api = "voyage.embeddings"
    operation = "embeddings"
    hosts = ("voyageai.com",)
    path = re.compile(r"/v1/(multimodal|contextualized)?embeddings$")
    asks: ClassVar[Mapping[str, Zone]] = {"input": "user", "inputs": "user"}

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """How many vectors came (base64 or numbers), and the total."""
        super().fill_answer(exchange, answer, document, marks)
        if exchange.answer is None:
            return
        vectors = as_list(at(document, "data"))
        for index, vector in enumerate(vectors):
            if isinstance(at(vector, "embedding"), str):
                marks[("data", index, "embedding")] = MEDIA
        exchange.answer.embedding_count = self._vectors(vectors)
        raw = as_dict(at(document, "usage"))
        count = as_count(raw.get("total_tokens"))
        if count is not None:
            exchange.answer.usage = Usage(input_tokens=count, input_total=count, raw=raw)

    def _vectors(self, vectors: list[Any]) -> int | None:
        return len(vectors)


class VoyageRerank(VoyageEmbeddings):
    """``POST /v1/rerank`` at Voyage AI."""

    api = "voyage.rerank"
    operation = "rerank"
    path = re.compile(r"/v1/rerank$")
    asks: ClassVar[Mapping[str, Zone]] = {"query": "user", "documents": "tool_result"}

    def _vectors(self, vectors: list[Any]) -> int | None:
        return None


class DeepgramListen(ServiceFamily):
    """``POST /v1/listen``: audio in, a transcript out."""

    api = "deepgram.listen"
    operation = "transcription"
    hosts = ("deepgram.com",)
    path = re.compile(r"/v1/listen$")
    says: ClassVar[Mapping[str, Zone]] = {"results": "assistant"}

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The first alternative of each channel."""
        super().fill_answer(exchange, answer, document, marks)
        channels = as_dicts(at(document, "results", "channels"))
        texts = [as_text(at(channel, "alternatives", 0, "transcript")) for channel in channels]
        parts = [Part("text", text=text) for text in texts if text is not None]
        if exchange.answer is not None and parts:
            exchange.answer.messages = [Message("assistant", parts)]


class DeepgramSpeak(ServiceFamily):
    """``POST /v1/speak``: text in, audio out."""

    api = "deepgram.speak"
    operation = "speech"
    hosts = ("deepgram.com",)
    path = re.compile(r"/v1/speak$")
    asks: ClassVar[Mapping[str, Zone]] = {"text": "user"}


class XaiSpeech(ServiceFamily):
    """``POST /v1/tts`` at xAI: text in, audio out."""

    api = "xai.tts"
    operation = "speech"
    hosts = ("x.ai",)
    path = re.compile(r"/v1/tts$")
    asks: ClassVar[Mapping[str, Zone]] = {"text": "user"}


class XaiVideos(ServiceFamily):
    """``/v1/videos`` at xAI: made in the background, fetched by id."""

    api = "xai.videos"
    operation = "generate_content"
    method = ""
    hosts = ("x.ai",)
    path = re.compile(r"/v1/videos(/[^/]+)?$")
    asks: ClassVar[Mapping[str, Zone]] = {"prompt": "user"}


class XaiBatches(ServiceFamily):
    """``/v1/batches`` at xAI: the requests themselves are in the body."""

    api = "xai.batches"
    operation = "batch"
    method = ""
    hosts = ("x.ai",)
    path = re.compile(r"/v1/batches(/[^/]+){0,2}$")
    asks: ClassVar[Mapping[str, Zone]] = {"batch_requests": "user"}
    says: ClassVar[Mapping[str, Zone]] = {"results": "assistant"}


class MistralBatches(ServiceFamily):
    """``/v1/batch/jobs`` at Mistral: requests in the body, or a file that holds them."""

    api = "mistral.batches"
    operation = "batch"
    method = ""
    hosts = ("mistral.ai",)
    path = re.compile(r"/v1/batch/jobs(/[^/]+){0,2}$")
    asks: ClassVar[Mapping[str, Zone]] = {"requests": "user"}
    says: ClassVar[Mapping[str, Zone]] = {"outputs": "assistant"}

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The requests; uploaded ones are only named."""
        super().fill_request(exchange, request, document, marks)
        if document.get("input_files"):
            exchange.references["file_ids"] = document["input_files"]


FAMILIES: tuple[Family, ...] = (
    ExaSearch(),
    TavilySearch(),
    VoyageEmbeddings(),
    VoyageRerank(),
    DeepgramListen(),
    DeepgramSpeak(),
    XaiSpeech(),
    XaiVideos(),
    XaiBatches(),
    MistralBatches(),
)
