"""Gemini and Vertex beside generation: embeddings, counting, prediction, caches, files.

Sources: Gemini API reference ("Embeddings", "Tokens", "Caching", "Files", "Models",
"File search stores"), Vertex AI reference ("predict", "predictLongRunning"). What is uploaded
or cached here is only named in later calls, so its texts are read here.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import Destination, Exchange, HttpAnswer, HttpRequest, Message, Part, Usage
from penstock.wire.family import Family, Framing
from penstock.wire.gemini.content import read_content
from penstock.wire.gemini.generate import GoogleFamily, model_of, read_generate
from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, at
from penstock.wire.uploads import UploadFamily
from penstock.wire.zones import Mark, Marks, blob


class GooglePlain(GoogleFamily):
    """A Google operation that is never streamed."""

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """One JSON object."""
        return "none"


class EmbedContent(GooglePlain):
    """``:embedContent``."""

    api = "google.embed_content"
    operation = "embeddings"
    path = re.compile(r":embedContent$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """One content."""
        super().fill_request(exchange, request, document, marks)
        marks[("title",)] = Mark("user")
        exchange.messages = [read_content(as_dict(document.get("content")), ("content",), marks)]

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """One vector, or several in a batch; usage where the model counts."""
        if exchange.answer is None:
            return
        body = as_dict(document)
        count = (
            1 if isinstance(body.get("embedding"), dict) else len(as_list(body.get("embeddings")))
        )
        exchange.answer.embedding_count = count or None
        exchange.answer.usage = _prompt_usage(as_dict(body.get("usageMetadata")))


class BatchEmbedContents(EmbedContent):
    """``:batchEmbedContents``."""

    api = "google.batch_embed_contents"
    path = re.compile(r":batchEmbedContents$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Many contents."""
        exchange.model = model_of(request)
        for index, single in enumerate(as_list(document.get("requests"))):
            path = ("requests", index, "content")
            exchange.messages.append(read_content(as_dict(at(single, "content")), path, marks))


class CountTokens(GooglePlain):
    """``:countTokens``: contents, or a whole request to generate."""

    api = "google.count_tokens"
    operation = "count_tokens"
    path = re.compile(r"/google/models/[^/]+:countTokens$|/v1[^/]*/models/[^/]+:countTokens$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """What is to be counted."""
        super().fill_request(exchange, request, document, marks)
        read_generate(exchange, document, marks)
        inner = document.get("generateContentRequest")
        if isinstance(inner, dict):
            read_generate(exchange, inner, marks, ("generateContentRequest",))

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """A count, which is no consumption."""
        if exchange.answer is not None:
            exchange.answer.usage.counted_tokens = as_count(at(document, "totalTokens"))


class Predict(GooglePlain):
    """Vertex ``:predict``: embeddings and images, an instance each."""

    api = "google.predict"
    operation = "embeddings"
    path = re.compile(r":predict$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The instances' contents and prompts."""
        super().fill_request(exchange, request, document, marks)
        marks[("instances",)] = Mark("user")
        parts: list[Part] = []
        for index, instance in enumerate(as_list(document.get("instances"))):
            for field in ("content", "prompt", "text"):
                text = as_text(at(instance, field))
                if text is not None:
                    parts.append(Part("text", text=text))
            image = as_text(at(instance, "image", "bytesBase64Encoded"))
            if image is not None:
                path = ("instances", index, "image", "bytesBase64Encoded")
                mime_type = as_text(at(instance, "image", "mimeType")) or "image/*"
                parts.append(blob(image, mime_type, path, marks, "user"))
        exchange.messages = [Message("user", parts)] if parts else []

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """Vectors and their token counts, one per instance; images are media."""
        if exchange.answer is None:
            return
        predictions = as_dicts(at(document, "predictions"))
        for index, prediction in enumerate(predictions):
            data = as_text(prediction.get("bytesBase64Encoded"))
            if data is not None:
                path = ("predictions", index, "bytesBase64Encoded")
                blob(data, as_text(prediction.get("mimeType")), path, marks, "other")
        vectors = [prediction for prediction in predictions if "embeddings" in prediction]
        if not vectors:
            return
        exchange.answer.embedding_count = len(vectors)
        counts = [as_count(at(p, "embeddings", "statistics", "token_count")) for p in vectors]
        known = [count for count in counts if count is not None]
        if known:
            exchange.answer.usage = _prompt_usage({"promptTokenCount": sum(known)})


class PredictLongRunning(Predict):
    """``:predictLongRunning``: video; the answer only names an operation."""

    api = "google.predict_long_running"
    operation = "generate_content"
    path = re.compile(r":predictLongRunning$")


class CachedContents(GooglePlain):
    """``/cachedContents``: content kept at the provider for later calls."""

    api = "google.cached_contents"
    operation = "cache"
    method = ""
    path = re.compile(r"/cachedContents(/[^/]+)?$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The content to keep; here the model stands in the body."""
        read_generate(exchange, document, marks)
        exchange.model = as_text(document.get("model"))

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The model; the size of a cache is no consumption of this call."""
        if exchange.answer is not None:
            exchange.answer.model = as_text(at(document, "model"))


class GoogleUpload(UploadFamily, GooglePlain):
    """A Google call whose body may be a file, or none."""

    operation = "files"
    method = ""

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """The paths are common words: here the host must be Google's too."""
        google = request.host.endswith(".googleapis.com")
        return google and super().recognise(request, destination)


class Files(GoogleUpload):
    """``/files``: uploads, downloads, what is stored."""

    api = "google.files"
    path = re.compile(r"/v1[^/]*/files(/[^/]+)?$")


class FileSearchStores(GoogleUpload):
    """``/fileSearchStores``: texts the provider searches by itself."""

    api = "google.file_search_stores"
    path = re.compile(r"/fileSearchStores(/.+)?$")


class Operations(GoogleUpload):
    """``/operations/{id}``: how far a long task is."""

    api = "google.operations"
    operation = "operations"
    path = re.compile(r"/operations/[^/]+$|:fetchPredictOperation$")


class Models(GoogleUpload):
    """``/models``: what there is."""

    api = "google.models"
    operation = "models"
    path = re.compile(r"/v1[^/]*/models(/[^/:]+)?$")


def _prompt_usage(raw: dict[str, Any]) -> Usage:
    count = as_count(raw.get("promptTokenCount"))
    return Usage(input_tokens=count, input_total=count, raw=raw) if raw else Usage()


FAMILIES: tuple[Family, ...] = (
    EmbedContent(),
    BatchEmbedContents(),
    CountTokens(),
    PredictLongRunning(),
    Predict(),
    CachedContents(),
    Operations(),
    FileSearchStores(),
    Files(),
    Models(),
)
