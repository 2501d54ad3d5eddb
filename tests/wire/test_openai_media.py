"""Embeddings, moderations, images, audio: texts in, usage out, uploads as forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.exchange import HttpRequest
from penstock.wire import recognise
from penstock.wire.openai.media import Embeddings, ImageGenerations, Speech, Transcriptions
from tests.wire.families import answered, destination, read, request, streamed, zone_of

FORM = (
    b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--B\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
    b'--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nA talk.\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\xff\x00\r\n--B--\r\n"
)


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/embeddings", "openai.embeddings"),
        ("/openai/deployments/e/embeddings?api-version=1", "openai.embeddings"),
        ("/v1/moderations", "openai.moderations"),
        ("/v1/images/generations", "openai.images.generations"),
        ("/v1/images/variations", "openai.images.edits"),
        ("/v1/audio/speech", "openai.audio.speech"),
        ("/v1/audio/transcriptions", "openai.audio.transcriptions"),
        ("/v1/audio/translations", "openai.audio.translations"),
        ("/v1/videos/video_1/content", "openai.videos"),
    ],
)
def test_paths_tell_the_family(path: str, api: str) -> None:
    assert recognise(request(path, {}), destination()).api == api


def test_embeddings_count_their_vectors_and_tokens() -> None:
    exchange = read(Embeddings(), "/v1/embeddings", {"model": "e", "input": ["a", "b"]})
    assert [part.text for part in exchange.messages[0].parts] == ["a", "b"]
    assert zone_of(exchange.leaves, "a") == "user"
    body = {"data": [{"embedding": [0.1]}, {"embedding": "AAAA"}], "usage": {"prompt_tokens": 2}}
    answer, _ = answered(Embeddings(), exchange, body)
    assert (answer.embedding_count, answer.usage.input_tokens) == (2, 2)


def test_tokens_instead_of_text_are_no_text() -> None:
    exchange = read(Embeddings(), "/v1/embeddings", {"model": "e", "input": [[1, 2]]})
    assert exchange.messages == [] and exchange.problem is None


def test_a_transcription_is_a_form_with_sound() -> None:
    headers = {"content-type": "multipart/form-data; boundary=B"}
    asked = HttpRequest("POST", "https", "h", 443, "/v1/audio/transcriptions", headers, FORM)
    exchange = Transcriptions().read_request(asked, destination())
    assert (exchange.model, exchange.stream) == ("whisper-1", True)
    prompt, sound = exchange.messages[0].parts
    assert (prompt.text, sound.kind, sound.mime_type) == ("A talk.", "blob", "audio/wav")
    assert zone_of(exchange.leaves, "A talk.") == "user"


@pytest.mark.parametrize("body", [{"text": "Hello"}, b"Hello"])
def test_a_transcript_is_the_answers_text_as_json_or_plain(body: Any) -> None:
    exchange = read(Transcriptions(), "/v1/audio/transcriptions", {"file": "x"})
    answer, leaves = answered(Transcriptions(), exchange, body, content_type="text/plain")
    assert answer.messages[0].text() == "Hello" and [leaf.text for leaf in leaves] == ["Hello"]


def test_a_streamed_transcript_has_a_closing_copy_and_usage() -> None:
    done = {"type": "transcript.text.done", "text": "Hello", "usage": {"input_tokens": 4}}
    events = [
        (None, {"type": "transcript.text.delta", "delta": "Hel"}),
        (None, {"type": "transcript.text.delta", "delta": "lo"}),
        (None, done),
        (None, "[DONE]"),
    ]
    exchange = read(Transcriptions(), "/v1/audio/transcriptions", {})
    answer, grown, _ = streamed(Transcriptions(), exchange, events)
    assert grown == {("transcript",): "Hello"}
    assert (answer.messages[0].text(), answer.usage.input_tokens) == ("Hello", 4)
    assert answer.complete
    cut, _, _ = streamed(Transcriptions(), exchange, events[:1])
    assert cut.messages[0].text() == "Hel" and not cut.complete


def test_sound_is_not_read_as_text_but_its_errors_are() -> None:
    exchange = read(Speech(), "/v1/audio/speech", {"model": "t", "input": "Say", "voice": "v"})
    assert exchange.messages[0].text() == "Say"
    answer, leaves = answered(Speech(), exchange, b"ID3\x04sound", content_type="audio/mpeg")
    assert leaves == [] and answer.error is None
    failed, _ = answered(Speech(), exchange, {"error": {"message": "x", "type": "y"}}, 400)
    assert failed.error is not None and failed.error.type == "y"


def test_a_rewritten_image_prompt_is_the_models_text() -> None:
    exchange = read(ImageGenerations(), "/v1/images/generations", {"prompt": "cat"})
    body = {"data": [{"revised_prompt": "a red cat", "url": "https://x.example"}],
            "usage": {"input_tokens": 1, "output_tokens": 9}}  # fmt: skip
    answer, _ = answered(ImageGenerations(), exchange, json.dumps(body).encode())
    assert (answer.messages[0].text(), answer.usage.output_tokens) == ("a red cat", 9)
