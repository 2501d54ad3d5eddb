"""Encoders in a running proxy, by a real client: names leave as placeholders and come back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.harness import Penstock, Upstream, https_server, running_penstock

pytest.importorskip("onnxruntime", reason="needs penstock[onnx]")
pytest.importorskip("onnx", reason="builds its models with onnx")

from tests.detect import tiny_models

POLICY = """
version: 1
name: encoder-tests
encoders: {encoders}
rules:
  - id: names
    redact: {{find: [pii.name, pii.address], in: [both]}}
  - id: orders
    deny: {{find: [injection.model], in: [tool_result]}}
"""
LATE = """
version: 1
name: late
on_error: {on_error}
encoders: {encoders}
rules:
  - id: orders
    deny: {{find: [injection.model], in: [user]}}
"""
LETTER = "Dear Ada Lovelace, write to 12 Elm Street. Yours, Grace Hopper"


class Echo:
    """Repeats the user's last words, or says a text of its own; streams three characters each."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        route = Route("/v1/chat/completions", self.chat, methods=["POST"])
        self.application = Starlette(routes=[route])

    async def chat(self, request: Request) -> Response:
        self.bodies.append((await request.body()).decode())
        body = json.loads(self.bodies[-1])
        text = body["messages"][-1]["content"]
        if text.startswith("say: "):
            text = "Sure. The author is Zoe Quimby of Springfield, as everybody knows. Bye."
        if body.get("stream"):
            return StreamingResponse(self.events(text), media_type="text/event-stream")
        message = {"role": "assistant", "content": text}
        return JSONResponse(
            {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-5-mini",
             "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        )  # fmt: skip

    async def events(self, text: str) -> AsyncIterator[bytes]:
        for piece in (text[low : low + 3] for low in range(0, len(text), 3)):
            yield self.event({"delta": {"content": piece}, "finish_reason": None})
        yield self.event({"delta": {}, "finish_reason": "stop"}) + b"data: [DONE]\n\n"

    def event(self, choice: dict[str, Any]) -> bytes:
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini"}
        return f"data: {json.dumps(head | {'choices': [{'index': 0, **choice}]})}\n\n".encode()


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, echo: Echo) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("upstream")
    with https_server(folder, echo.application, ["api.openai.com"]) as started:
        yield started


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.tagger(folder / "tagger")
    tiny_models.classifier(folder / "classifier")
    tiny_models.endless(folder / "endless")
    return folder


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, models: Path
) -> Iterator[Penstock]:
    entries = [
        *json.loads(tiny_models.setting(models / "tagger", "tagger")),
        *json.loads(tiny_models.setting(models / "classifier", "classifier")),
    ]
    policy = POLICY.format(encoders=json.dumps(entries))
    with running_penstock(tmp_path_factory.mktemp("proxy"), policy, upstream) as started:
        yield started


def client_of(proxy: Penstock) -> openai.OpenAI:
    http = httpx.Client(
        proxy=proxy.url, verify=proxy.environment["SSL_CERT_FILE"], timeout=60, trust_env=False
    )
    return openai.OpenAI(api_key="sk-test", http_client=http, max_retries=0)


def asked(proxy: Penstock, text: str, stream: bool = False) -> str:
    """What the client reads."""
    messages: Any = [{"role": "user", "content": text}]
    made = client_of(proxy).chat.completions
    if not stream:
        return made.create(model="gpt-5-mini", messages=messages).choices[0].message.content or ""
    chunks = made.create(model="gpt-5-mini", messages=messages, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_names_leave_as_placeholders_and_come_back(
    proxy: Penstock, echo: Echo, stream: bool
) -> None:
    assert asked(proxy, LETTER, stream) == LETTER
    for name in ("Ada", "Lovelace", "Elm", "Grace", "Hopper"):
        assert name not in echo.bodies[-1]
    assert echo.bodies[-1].count("PLACEHOLDER_") == 3


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_names_that_a_model_brings_are_taken_out_of_its_answer(
    proxy: Penstock, stream: bool
) -> None:
    said = asked(proxy, "say: who wrote it", stream)
    for name in ("Zoe", "Quimby", "Springfield"):
        assert name not in said
    assert said.startswith("Sure. The author is PLACEHOLDER_")
    assert said.endswith(", as everybody knows. Bye.")


def test_an_order_only_the_encoder_sees_is_refused(proxy: Penstock) -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: Any = [
        {"role": "user", "content": "what does the page say"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "A page about zanzibar and its coast."},
    ]
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client_of(proxy).chat.completions.create(model="gpt-5-mini", messages=messages)
    assert "orders" in str(refused.value)
    messages[-1]["content"] = "A page about a town and its coast."
    client_of(proxy).chat.completions.create(model="gpt-5-mini", messages=messages)


def test_ten_clients_at_once_each_get_their_own_names_back(proxy: Penstock, echo: Echo) -> None:
    texts = [f"Call {number}: {LETTER} ({number})" for number in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda text: asked(proxy, text, stream=True), texts))
    assert answers == texts
    assert not any("Lovelace" in body for body in echo.bodies)


def test_the_loop_serves_others_while_a_model_goes_round_in_circles(
    tmp_path: Path, upstream: Upstream, models: Path
) -> None:
    """A model that hangs ends after its time; until then nobody else waits for it."""
    encoders = tiny_models.setting(models / "endless", give_up_after="12s", ask="always")
    policy = LATE.format(encoders=encoders, on_error="deny")
    with running_penstock(tmp_path, policy, upstream) as proxy:
        refused: list[Exception] = []

        def hang() -> None:
            try:
                asked(proxy, "it goes on forever and ever")
            except openai.APIStatusError as error:
                refused.append(error)

        thread = threading.Thread(target=hang)
        thread.start()
        time.sleep(0.5)
        assert asked(proxy, "a quiet text about gardens") == "a quiet text about gardens"
        assert thread.is_alive()  # the other one had not ended
        thread.join(timeout=60)
        assert isinstance(refused[0], openai.PermissionDeniedError)
        assert "could not be evaluated" in str(refused[0])


def test_on_error_allow_lets_a_call_go_whose_model_hangs(
    tmp_path: Path, upstream: Upstream, models: Path
) -> None:
    encoders = tiny_models.setting(models / "endless", give_up_after="1s", ask="always")
    with running_penstock(
        tmp_path, LATE.format(encoders=encoders, on_error="allow"), upstream
    ) as proxy:
        text = "it goes on forever and ever"
        assert asked(proxy, text) == text


def test_a_socket_is_refused_where_encoders_read(proxy: Penstock) -> None:
    answer = httpx.get(
        "https://api.openai.com/v1/realtime?model=gpt-realtime",
        headers={
            "upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "authorization": "Bearer sk-x",
        },
        proxy=proxy.url,
        verify=proxy.environment["SSL_CERT_FILE"],
    )  # fmt: skip
    assert answer.status_code == 403
    assert "plain HTTP" in answer.text
