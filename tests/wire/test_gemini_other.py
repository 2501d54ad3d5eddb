"""Google beside generation: what is embedded, counted, cached and uploaded is read too."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import family_of, recognise
from penstock.wire.family import Family
from tests.wire.families import answered, destination, read, request, zone_of
from tests.wire.mutation import mutated

GOOGLE = "generativelanguage.googleapis.com"
CONTENT = {"parts": [{"text": "a text to embed"}]}
MODEL = "/v1beta/models/gemini-embedding-001"
VERTEX = "/v1/projects/p/locations/l/publishers/google/models/text-embedding-005"


def _family(name: str) -> Family:
    return family_of("google." + name)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", MODEL + ":embedContent", "embed_content"),
        ("POST", MODEL + ":batchEmbedContents", "batch_embed_contents"),
        ("POST", "/v1beta/models/gemini-2.5-pro:countTokens", "count_tokens"),
        ("POST", VERTEX + ":countTokens", "count_tokens"),
        ("POST", VERTEX + ":predict", "predict"),
        ("POST", "/v1beta/models/veo-3:predictLongRunning", "predict_long_running"),
        ("POST", "/v1beta/cachedContents", "cached_contents"),
        ("DELETE", "/v1beta/cachedContents/abc", "cached_contents"),
        ("POST", "/upload/v1beta/files?uploadType=resumable", "files"),
        ("GET", "/v1beta/files/abc:download?alt=media", "files"),
        ("POST", "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore", "file_search_stores"),
        ("GET", "/v1beta/models/veo-3/operations/abc", "operations"),
        ("GET", "/v1beta/models", "models"),
        ("GET", "/v1beta/models/gemini-2.5-pro", "models"),
    ],
)
def test_each_path_has_its_family(method: str, path: str, name: str) -> None:
    asked = request(path, b"", method, GOOGLE)
    assert recognise(asked, destination(GOOGLE)).api == "google." + name


def test_embeddings_are_counted_singly_and_in_batches() -> None:
    one = read(_family("embed_content"), MODEL + ":embedContent", {"content": CONTENT})
    assert zone_of(one.leaves, "a text to embed") == "user"
    answer, _ = answered(_family("embed_content"), one, {"embedding": {"values": [0.1]}})
    assert (one.model, answer.embedding_count) == ("gemini-embedding-001", 1)
    family = _family("batch_embed_contents")
    body = {"requests": [{"content": CONTENT}, {"content": CONTENT}]}
    many = read(family, MODEL + ":batchEmbedContents", body)
    assert len(many.messages) == 2
    reply = {"embeddings": [{}, {}], "usageMetadata": {"promptTokenCount": 8}}
    answer, _ = answered(family, many, reply)
    assert (answer.embedding_count, answer.usage.input_tokens) == (2, 8)


def test_predict_sums_the_counts_of_its_instances() -> None:
    family = _family("predict")
    exchange = read(family, VERTEX + ":predict", {"instances": [{"content": "a"}, {"prompt": "b"}]})
    assert [part.text for part in exchange.messages[0].parts] == ["a", "b"]
    vector = {"embeddings": {"statistics": {"token_count": 3}, "values": [0.1]}}
    answer, _ = answered(family, exchange, {"predictions": [vector, vector]})
    assert (answer.embedding_count, answer.usage.input_total) == (2, 6)


def test_an_image_made_is_no_text() -> None:
    family = _family("predict")
    exchange = read(family, VERTEX + ":predict", {"instances": [{"prompt": "a robot"}]})
    made = {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "iVBORw0KGgo="}]}
    answer, leaves = answered(family, exchange, made)
    assert answer.embedding_count is None
    assert next(leaf for leaf in leaves if leaf.text == "iVBORw0KGgo=").blob


def test_a_count_is_no_consumption() -> None:
    family = _family("count_tokens")
    body = {"generateContentRequest": {"contents": [{"role": "user", **CONTENT}]}}
    exchange = read(family, "/v1beta/models/gemini-2.5-pro:countTokens", body)
    assert zone_of(exchange.leaves, "a text to embed") == "user"
    answer, _ = answered(family, exchange, {"totalTokens": 7})
    assert (answer.usage.counted_tokens, answer.usage.input_tokens) == (7, None)


def test_what_is_cached_is_read_when_it_is_sent() -> None:
    family = _family("cached_contents")
    body = {
        "model": "models/gemini-2.5-flash",
        "systemInstruction": {"parts": [{"text": "You are a careful clerk."}]},
        "contents": [{"role": "user", **CONTENT}],
    }
    exchange = read(family, "/v1beta/cachedContents", body)
    assert exchange.model == "models/gemini-2.5-flash"
    assert zone_of(exchange.leaves, "You are a careful clerk.") == "system"
    reply = {"model": "models/gemini-2.5-flash", "usageMetadata": {"totalTokenCount": 1090}}
    answer, _ = answered(family, exchange, reply)
    assert answer.usage.input_tokens is None, "a cache's size is no consumption"


def test_an_uploaded_text_is_read_and_an_uploaded_image_is_no_problem() -> None:
    family = _family("files")
    path = "/upload/v1beta/files"
    asked = request(path, b"a secret in a text file", host=GOOGLE)
    exchange = family.read_request(asked, destination(GOOGLE))
    assert [leaf.text for leaf in exchange.leaves] == ["a secret in a text file"]
    picture = request(path, b"\x89PNG\r\n\x1a\n\xff\xfe", host=GOOGLE)
    exchange = family.read_request(picture, destination(GOOGLE))
    assert (exchange.leaves, exchange.problem) == ([], None)


def test_an_error_without_a_status_word_is_named_by_its_code() -> None:
    family = _family("files")
    asked = request("/v1beta/files/a:download", b"", "GET", GOOGLE)
    exchange = family.read_request(asked, destination(GOOGLE))
    body = {"error": {"code": 302, "message": "Unknown Error.", "status": "UNKNOWN"}}
    answer, _ = answered(family, exchange, body, 302)
    assert answer.error is not None
    assert answer.error.type == "302"


SAMPLES: dict[str, Any] = {
    "embed_content": {"content": CONTENT, "embedding": {"values": []}, "usageMetadata": {"a": 1}},
    "batch_embed_contents": {"requests": [{"content": CONTENT}], "embeddings": [{}]},
    "count_tokens": {"contents": [CONTENT], "totalTokens": 1, "generateContentRequest": {}},
    "predict": {
        "instances": [{"prompt": "p", "image": {"bytesBase64Encoded": "aaaa"}}],
        "predictions": [{"embeddings": {"statistics": {"token_count": 1}}}],
    },
    "cached_contents": {"model": "m", "contents": [CONTENT]},
    "files": {"file": {"displayName": "x"}},
}


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SAMPLES)))
    family = _family(name)
    asked = request("/", mutated(data, deepcopy(SAMPLES[name])))
    exchange = family.read_request(asked, destination(GOOGLE))
    answered(family, exchange, mutated(data, deepcopy(SAMPLES[name])))
