"""What one recorded exchange is understood as, in the fields of ``expect``."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import Destination
from penstock.wire.inspect import inspect

REQUEST = {
    "method": "POST",
    "url": "https://api.openai.com/v1/chat/completions?x=1",
    "headers": {"Content-Type": "application/json"},
    "body": json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
}


def answered(body: bytes | str, **headers: str) -> dict[str, Any]:
    coded = {"body": body} if isinstance(body, str) else {
        "body": base64.b64encode(body).decode(),
        "encoding": "base64",
    }  # fmt: skip
    response = {"status": 200, "headers": {k.replace("_", "-"): v for k, v in headers.items()}}
    return inspect({"id": "a", "request": REQUEST, "response": {**response, **coded}})


def test_a_compressed_recorded_answer_is_read() -> None:
    body = gzip.compress(b'{"id": "c", "usage": {"prompt_tokens": 3}}')
    assert answered(body, content_encoding="gzip")["input_tokens"] == 3


def test_a_stream_is_read_although_its_type_lies() -> None:
    got = answered(
        'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', content_type="application/json"
    )
    assert (got["completion_text"], got["n_events"]) == ("a", 1)


def test_without_an_answer_only_the_request_is_told() -> None:
    got = inspect({"id": 7, "request": REQUEST})
    assert (got["id"], got["request_model"], got["error"]) == (7, "m", False)
    assert got["prompt_text_contains"] == ["Hi"]


def test_the_destination_is_who_the_caller_says() -> None:
    got = inspect({"request": REQUEST}, lambda host, port, _: Destination(host, port, "mine"))
    assert got["provider"] == "mine"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.integers(),
            "request": st.none()
            | st.fixed_dictionaries(
                {},
                optional={
                    "url": st.text(max_size=12) | st.just("http://h:99999/v1/responses"),
                    "headers": st.none() | st.dictionaries(st.text(max_size=3), st.integers()),
                    "body": st.none() | st.text(max_size=12),
                    "encoding": st.sampled_from(["base64", "text", 3]),
                },
            ),
            "response": st.none() | st.just({"status": "x", "body": "\ud800"}),
        },
    )
)
def test_odd_lines_never_raise(line: dict[str, Any]) -> None:
    json.dumps(inspect(line))
