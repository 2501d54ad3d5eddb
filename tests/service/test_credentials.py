"""Real keys in a running proxy: the application never holds one, and never gets one back."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.harness import Penstock, Upstream, https_server, running_penstock

REAL = "sk-proj-REAL/canary+key_0123456789"
ROTATED = "sk-proj-NEXT/canary+key_9876543210"
WORTHLESS = "sk-worthless-token-of-the-application"
HOSTS = ["api.openai.com", "api.anthropic.com", "api.mistral.ai", "models.internal"]
POLICY = """
version: 1
name: credential-tests
rules:
  - id: openai-key
    credential: {{providers: [openai], from: {{file: {folder}/openai}}}}
  - id: anthropic-key
    credential: {{providers: [anthropic], from: {{environment: REAL_ANTHROPIC_KEY}}}}
  - id: no-source
    credential: {{providers: [mistral], from: {{file: {folder}/missing}}}}
  - id: own-token-will-do
    credential: {{hosts: [models.internal], from: {{file: {folder}/missing}}}}
    on_error: allow
  - id: no-mail
    redact: {{find: [pii.email], in: [both], with: placeholder}}
"""


class Echoing:
    """A provider that repeats the key it got wherever an answer has room for it."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.application = Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/messages", self.messages, methods=["POST"]),
                Route("/v1/models", self.redirect),
                Route("/v1/files", self.compressed),
                Route("/v1/audio/speech", self.audio, methods=["POST"]),
            ]
        )

    def key(self, request: Request) -> str:
        authorization = request.headers.get("authorization", "")
        key = authorization.removeprefix("Bearer ") or request.headers.get("x-api-key", "")
        self.keys.append(key)
        return key

    async def chat(self, request: Request) -> Response:
        key, body = self.key(request), await request.json()
        if body["model"] == "broken":
            error = {"message": f"Incorrect API key provided: {key}.", "type": "auth", "code": None}
            return JSONResponse({"error": error}, 401, {"x-echo": f"Bearer {key}"})
        if body.get("stream"):
            return StreamingResponse(self.events(key), media_type="text/event-stream")
        message = {"role": "assistant", "content": f"Your key is {key}, mail a@example.org"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-5-mini"}
        return JSONResponse(
            {**answer, "choices": [choice], "usage": usage, "debug": {"header": f"Bearer {key}"}}
        )

    async def events(self, key: str) -> AsyncIterator[bytes]:
        """The key letter by letter as text, and whole in a field no reader knows."""
        common = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini"}
        for letter in f"It is {key} indeed":
            delta = {"index": 0, "delta": {"content": letter}, "finish_reason": None}
            yield f"data: {json.dumps({**common, 'choices': [delta]})}\n\n".encode()
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        raw = f"data: {json.dumps({**common, 'choices': [last], 'trace': key})}\n\n".encode()
        for at in range(0, len(raw), 7):
            yield raw[at : at + 7]
            await asyncio.sleep(0)
        yield b"data: [DONE]\n\n"

    async def messages(self, request: Request) -> Response:
        key = self.key(request)
        error = {"type": "authentication_error", "message": f"invalid x-api-key {key}"}
        return JSONResponse({"type": "error", "error": error}, 401)

    async def redirect(self, request: Request) -> Response:
        key = self.key(request)
        return RedirectResponse(f"https://elsewhere.example/v1/models?key={key}", 307)

    async def compressed(self, request: Request) -> Response:
        body = gzip.compress(json.dumps({"data": [self.key(request)]}).encode())
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        return Response(body, headers=headers)

    async def audio(self, request: Request) -> Response:
        key = self.key(request).encode()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"\x00\xff" + key[:9]
            await asyncio.sleep(0.05)
            yield key[9:] + b"\x00"

        return StreamingResponse(pieces(), media_type="audio/mpeg")


@pytest.fixture(scope="module")
def provider() -> Echoing:
    return Echoing()


@pytest.fixture(scope="module")
def upstream(provider: Echoing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("echoing")
    with https_server(folder, provider.application, HOSTS) as started:
        yield started


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "openai").write_text(REAL + "\n")
    return folder


@pytest.fixture(scope="module")
def proxy(
    upstream: Upstream, secrets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("penstock")
    environment = {"REAL_ANTHROPIC_KEY": REAL}
    policy = POLICY.format(folder=secrets)
    with running_penstock(folder, policy, upstream, environment=environment) as started:
        yield started


@pytest.fixture
def client(proxy: Penstock) -> Iterator[httpx.Client]:
    with httpx.Client(
        proxy=proxy.url,
        verify=str(proxy.state / "ca.pem"),
        headers={"authorization": f"Bearer {WORTHLESS}"},
    ) as made:
        yield made


def seen(answer: httpx.Response) -> bytes:
    """Every byte of an answer that reached the application."""
    head = "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
    return answer.reason_phrase.encode() + head.encode() + answer.content


def no_key_in(data: bytes) -> None:
    for part in (REAL, REAL.replace("/", "\\/"), REAL.replace("/", "%2F").replace("+", "%2B")):
        assert part.encode() not in data
    assert b"canary" not in data


CHAT: dict[str, Any] = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "key?"}]}


def test_the_provider_gets_the_real_key_and_the_caller_none(
    client: httpx.Client, provider: Echoing
) -> None:
    """A plain answer: text, unknown fields and everything else are freed of the key."""
    answer = client.post("https://api.openai.com/v1/chat/completions", json=CHAT)
    assert provider.keys[-1] == REAL
    no_key_in(seen(answer))
    assert answer.status_code == 200 and answer.json()["usage"]["total_tokens"] == 7
    assert "Your key is **" in answer.json()["choices"][0]["message"]["content"]


def test_a_key_spread_over_events_does_not_arrive(client: httpx.Client, provider: Echoing) -> None:
    """Letter by letter over events, or whole over chunks: the SDK's text has no key."""
    answer = client.post("https://api.openai.com/v1/chat/completions", json=CHAT | {"stream": True})
    assert provider.keys[-1] == REAL
    no_key_in(seen(answer))
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    text = "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in events)
    assert text == "It is [credential removed] indeed"
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", CHAT | {"model": "broken"}),
        ("GET", "/v1/models", None),
        ("GET", "/v1/files", None),
        ("POST", "/v1/audio/speech", {"model": "tts-1", "input": "x", "voice": "alloy"}),
    ],
)
def test_errors_redirects_coded_and_binary_answers_hold_no_key(
    client: httpx.Client, provider: Echoing, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """Error bodies and headers, Location, unasked-for gzip, audio in pieces."""
    answer = client.request(method, f"https://api.openai.com{path}", json=body)
    assert provider.keys[-1] == REAL and answer.content is not None
    no_key_in(seen(answer))


def test_sdks_work_with_a_worthless_token(
    proxy: Penstock, provider: Echoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The OpenAI and Anthropic SDKs never know; each header form stays the caller's own."""
    for name, value in proxy.environment.items():
        monkeypatch.setenv(name, value)
    made = openai.OpenAI(api_key=WORTHLESS, max_retries=0).chat.completions.create(**CHAT)
    assert made.usage and made.usage.total_tokens == 7 and provider.keys[-1] == REAL
    with pytest.raises(anthropic.AuthenticationError) as raised:
        anthropic.Anthropic(api_key=WORTHLESS, max_retries=0).messages.create(
            model="claude-sonnet-4-5", max_tokens=5, messages=[{"role": "user", "content": "x"}]
        )
    assert provider.keys[-1] == REAL and "canary" not in str(raised.value)


def test_a_source_that_gives_nothing_refuses(client: httpx.Client, proxy: Penstock) -> None:
    """on_error deny: 403 in the provider's shape, counted; the worthless token goes nowhere."""
    url = "https://api.mistral.ai/v1/chat/completions"
    answer = client.post(url, json=CHAT | {"model": "mistral-small"})
    assert answer.status_code == 403 and "no-source" in answer.headers["penstock-decision"]
    assert answer.headers["x-should-retry"] == "false"
    assert "penstock_credential_failures_total" in proxy.metrics()
    (record,) = [r for r in proxy.records() if r["destination"]["host"] == "api.mistral.ai"]
    assert record["outcome"] == "refused" and "no-source" in record["failure_reason"]


def test_on_error_allow_lets_the_callers_own_token_go(
    client: httpx.Client, proxy: Penstock, provider: Echoing
) -> None:
    """The call goes on as if there were no rule, and the record says that it failed open."""
    answer = client.post("https://models.internal/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200 and provider.keys[-1] == WORTHLESS
    (record,) = [r for r in proxy.records() if r["destination"]["host"] == "models.internal"]
    assert record["failure"] == "failed_open" and "own-token-will-do" in record["failure_reason"]


def test_a_large_call_gets_its_key_too(client: httpx.Client, provider: Echoing) -> None:
    """Judged in a worker thread, with its mail address replaced."""
    text = "a word " * 40_000 + "ada@example.org"
    body = CHAT | {"messages": [{"role": "user", "content": text}]}
    answer = client.post("https://api.openai.com/v1/chat/completions", json=body)
    assert answer.status_code == 200 and provider.keys[-1] == REAL
    no_key_in(seen(answer))


def test_a_rotated_file_is_used_without_a_restart_and_no_call_fails(
    client: httpx.Client, provider: Echoing, secrets: Path
) -> None:
    """Calls go on while the secret is replaced; within about a second they carry the new key."""
    before = len(provider.keys)
    draft = secrets / "draft"
    draft.write_text(ROTATED)
    began = time.monotonic()
    try:
        statuses = set()
        for number in range(40):
            if number == 5:
                draft.replace(secrets / "openai")
            answer = client.post("https://api.openai.com/v1/chat/completions", json=CHAT)
            statuses.add(answer.status_code)
            assert b"canary" not in seen(answer)
            if provider.keys[-1] == ROTATED:
                break
            time.sleep(0.05)
        assert statuses == {200} and provider.keys[-1] == ROTATED
        assert set(provider.keys[before:]) == {REAL, ROTATED}
        assert time.monotonic() - began < 20
    finally:
        (secrets / "openai").write_text(REAL)
        time.sleep(1.1)


def test_no_key_is_written_down(client: httpx.Client, proxy: Penstock) -> None:
    """State directory, log, metrics and status hold no key and no worthless token."""
    client.post("https://api.openai.com/v1/chat/completions", json=CHAT)
    client.post("https://api.openai.com/v1/chat/completions?key=x", json=CHAT | {"stream": True})
    records = proxy.records(10)
    written = [path for path in proxy.state.parent.rglob("*") if path.is_file()]
    data = b"".join(path.read_bytes() for path in written) + proxy.metrics().encode()
    data += httpx.get(f"http://{proxy.admin}/status").content
    assert len(records) >= 10 and len(written) > 4
    assert b"canary" not in data and WORTHLESS.encode() not in data
    rules = [rule["rule"] for record in records for rule in record.get("rules", ())]
    assert "openai-key" in rules and "penstock_credential_echoes_total" in proxy.metrics()
