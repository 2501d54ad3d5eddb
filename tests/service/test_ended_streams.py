"""Streams that end early because their tone, or their model's doubts, are denied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.world import CHAT, DONE, LAST, OPENAI, STREAM_HEAD, World, chat, chunk, world

POLICY = """
version: 1
name: ended
rules:
  - id: unsure
    deny: {find: [uncertainty.low_logprob], in: [response]}
  - id: tone
    deny: {find: [toxicity.model], in: [response]}
"""
HOSTILE = "All of these people are disgusting scum and I hate them, they should be wiped out."


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ended"), POLICY) as made:
        yield made


def said(word: str, logprob: float | None) -> bytes:
    tokens = {"content": [{"token": word, "logprob": logprob, "bytes": None, "top_logprobs": []}]}
    choice: dict[str, Any] = {"index": 0, "delta": {"content": word}, "finish_reason": None}
    choice |= {"logprobs": tokens if logprob is not None else None}
    return (
        b"data: "
        + json.dumps({"id": "c", "model": "gpt-5", "choices": [choice]}).encode()
        + (b"\n\n")
    )


def answer(here: World, words: list[str], logprob: float | None) -> tuple[bytes, dict[str, Any]]:
    """What arrives of a stream that brings each word in a chunk of its own, and the record."""
    events = [said(f"{word} ", logprob) for word in words]
    body = b"".join(map(chunk, [*events, DONE]))
    here.upstream.script = STREAM_HEAD + body + LAST
    before = here.recorded
    with here.tunnel() as client:
        client.post(OPENAI, CHAT, chat(stream=True, logprobs=True))
        came = client.answer()
    assert came.complete and came.status == 200
    return came.body, here.after(before)[0]


@pytest.mark.parametrize(
    ("words", "logprob", "rule"),
    [
        (["perhaps"] * 2000, -1.6, "unsure"),
        (f"{HOSTILE} {HOSTILE} {'And so it goes on. ' * 400}".split(), None, "tone"),
    ],
    ids=["uncertainty", "tone"],
)
def test_the_stream_ends_with_the_error_of_its_api(
    here: World, words: list[str], logprob: float | None, rule: str
) -> None:
    body, record = answer(here, words, logprob)
    events = [line for line in body.split(b"\n\n") if line]
    assert len(events) < len(words) / 2, "the rest is withheld"
    error = next(json.loads(one[6:])["error"] for one in events if b'"error"' in one)
    assert f"'{rule}'" in error["message"] and "scum" not in error["message"]
    assert record["outcome"] == "refused" and record["verdict"] == "deny"
    assert rule in [one["rule"] for one in record["rules"]]
    assert len(record["findings"]) == 1, "told once"


def test_a_sure_and_friendly_stream_leaves_as_it_came(here: World) -> None:
    body, record = answer(here, ["certainly"] * 300, -0.1)
    assert body == b"".join(said("certainly ", -0.1) for _ in range(300)) + DONE
    assert record["verdict"] == "allow" and "findings" not in record
