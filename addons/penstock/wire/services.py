"""Search, speech, embeddings and batch jobs of single services.

Sources: the API references of Exa, Tavily, Deepgram, xAI, Voyage AI and Mistral ("Batch").
What a search brings back is a tool's result: the place where injected text comes in.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Exchange, HttpAnswer, HttpRequest, Message, Part, Usage
from penstock.wire.family import Family
from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, at
from penstock.wire.service_family import ServiceFamily
from penstock.wire.zones import MEDIA, Mark, Marks


class Tavily(ServiceFamily):
    """Older clients send their key in the body."""

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The query; the service's own key is meant for it and stays as it is."""
        super().fill_request(exchange, request, document, marks)
        marks[("api_key",)] = Mark(editable=False)


class Voyage(ServiceFamily):
    """Only a total of tokens is told."""

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
        if self.operation == "embeddings":
            exchange.answer.embedding_count = len(vectors)
        raw = as_dict(at(document, "usage"))
        count = as_count(raw.get("total_tokens"))
        if count is not None:
            exchange.answer.usage = Usage(input_tokens=count, input_total=count, raw=raw)


class DeepgramListen(ServiceFamily):
    """Audio in, a transcript out."""

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


class MistralBatches(ServiceFamily):
    """Requests in the body, or a file that holds them."""

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The requests; uploaded ones are only named."""
        super().fill_request(exchange, request, document, marks)
        if document.get("input_files"):
            exchange.references["file_ids"] = document["input_files"]


FAMILIES: tuple[Family, ...] = (
    ServiceFamily(
        "exa.search", "search", ("exa.ai",), r"^/(search|contents|answer|findSimilar)$",
        asks={"query": "user"},
        says={"results": "tool_result", "citations": "tool_result", "context": "tool_result",
              "answer": "assistant"},
    ),
    Tavily(
        "tavily.search", "search", ("tavily.com",), r"^/(search|extract|crawl|map)$",
        asks={"query": "user", "urls": "user"},
        says={"results": "tool_result", "answer": "assistant"},
    ),
    Voyage(
        "voyage.embeddings", "embeddings", ("voyageai.com",),
        r"/v1/(multimodal|contextualized)?embeddings$",
        asks={"input": "user", "inputs": "user"},
    ),
    Voyage(
        "voyage.rerank", "rerank", ("voyageai.com",), r"/v1/rerank$",
        asks={"query": "user", "documents": "tool_result"},
    ),
    DeepgramListen(
        "deepgram.listen", "transcription", ("deepgram.com",), r"/v1/listen$",
        says={"results": "assistant"},
    ),
    ServiceFamily(
        "deepgram.speak", "speech", ("deepgram.com",), r"/v1/speak$", asks={"text": "user"}
    ),
    ServiceFamily("xai.tts", "speech", ("x.ai",), r"/v1/tts$", asks={"text": "user"}),
    # Made in the background, fetched by id.
    ServiceFamily(
        "xai.videos", "generate_content", ("x.ai",), r"/v1/videos(/[^/]+)?$",
        asks={"prompt": "user"}, method="",
    ),
    # The requests themselves are in the body.
    ServiceFamily(
        "xai.batches", "batch", ("x.ai",), r"/v1/batches(/[^/]+){0,2}$",
        asks={"batch_requests": "user"}, says={"results": "assistant"}, method="",
    ),
    MistralBatches(
        "mistral.batches", "batch", ("mistral.ai",), r"/v1/batch/jobs(/[^/]+){0,2}$",
        asks={"requests": "user"}, says={"outputs": "assistant"}, method="",
    ),
)  # fmt: skip
