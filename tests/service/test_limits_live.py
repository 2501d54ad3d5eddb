"""Limits in a running proxy: shared through a real store, cut in mid-stream, moved to a model."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.harness import Penstock, Upstream, https_server, running_penstock
from tests.meter.redis_server import RedisServer, needs_redis
from tests.sdk.provider import HOSTS, Provider

PASSWORD = "correct-horse-battery-staple"
SHARED = """
version: 1
rules:
  - id: together
    limit: {requests: 40, every: 1h}
"""


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def upstream(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("limits-upstream")
    with https_server(folder, provider.application, HOSTS) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, "--requirepass", PASSWORD)
    yield server
    server.stop()


def client(proxy: Penstock) -> httpx.Client:
    trust = ssl.create_default_context(cafile=str(proxy.state / "ca.pem"))
    return httpx.Client(proxy=proxy.url, verify=trust, timeout=20)


def ask(web: httpx.Client, text: str = "hello", **more: Any) -> httpx.Response:
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": text}], **more}
    return web.post("https://api.openai.com/v1/chat/completions", json=body)


def status_of(proxy: Penstock) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{proxy.admin}/status", timeout=5) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


@needs_redis
def test_two_proxies_share_one_limit(
    tmp_path: Path, upstream: Upstream, redis: RedisServer
) -> None:
    """40 calls in all, whichever proxy they take; the rest is refused with the real wait."""
    store = {"PENSTOCK_STORE": redis.url, "PENSTOCK_STORE_PASSWORD": PASSWORD}
    with (
        running_penstock(tmp_path / "a", SHARED, upstream, environment=store) as one,
        running_penstock(tmp_path / "b", SHARED, upstream, environment=store) as two,
        client(one) as first,
        client(two) as second,
    ):
        answers = [ask(web) for _ in range(30) for web in (first, second)]
        served = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert (len(served), len(refused)) == (40, 20)
        assert 3000 < int(refused[0].headers["retry-after"]) <= 3600 * 1.06
        assert 'qu="requests"' in served[0].headers["ratelimit-policy"]
        limits = status_of(one)["limits"]
        assert limits["shared"] and limits["reachable"] and limits["failures"] == 0
        assert "penstock_store_up 1.0" in one.metrics()
        said = one.log.read_text() + json.dumps(status_of(one)) + one.metrics()
        assert "limits are shared through redis://127.0.0.1" in said
        assert PASSWORD not in said


@needs_redis
def test_without_its_store_a_proxy_refuses_and_says_why(
    tmp_path: Path, upstream: Upstream, redis: RedisServer
) -> None:
    store = {"PENSTOCK_STORE": redis.url, "PENSTOCK_STORE_PASSWORD": PASSWORD}
    redis.kill()
    with (
        running_penstock(tmp_path / "a", SHARED, upstream, environment=store) as proxy,
        client(proxy) as web,
    ):
        answer = ask(web)
        assert answer.status_code == 429
        assert "store of shared limits cannot be reached" in answer.text
        redis.start()
        deadline = time.monotonic() + 20  # the store is tried again about once a second
        while ask(web, "again").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    redis.kill()


@needs_redis
def test_a_wrong_password_is_a_store_that_cannot_be_reached(
    tmp_path: Path, upstream: Upstream, redis: RedisServer
) -> None:
    store = {"PENSTOCK_STORE": redis.url, "PENSTOCK_STORE_PASSWORD": "not-" + PASSWORD}
    policy = SHARED + "on_store_error: allow\n"
    with (
        running_penstock(tmp_path / "a", policy, upstream, environment=store) as proxy,
        client(proxy) as web,
    ):
        assert ask(web).status_code == 200
        limits = status_of(proxy)["limits"]
        assert limits["problem"] == "AuthenticationError"
        assert limits["decided_without_store"]["allow"] == 1
        assert PASSWORD not in proxy.log.read_text()


def test_limits_of_one_proxy_say_so(tmp_path: Path, upstream: Upstream) -> None:
    with running_penstock(tmp_path / "a", SHARED, upstream) as proxy:
        assert status_of(proxy)["limits"] == {"shared": False}
        assert "limits are this proxy's own" in proxy.log.read_text()


@pytest.mark.parametrize("words", ["word " * 4000, "一句话 " * 2000], ids=["English", "Chinese"])
def test_a_stream_is_ended_where_a_limit_says_cut(
    tmp_path: Path, upstream: Upstream, words: str
) -> None:
    """The answer stops, well-formed, with the API's error; the SDK raises it; the record has it.

    In bytes: a Chinese character takes three, and about as many more tokens than a letter.
    """
    policy = """
version: 1
rules:
  - id: short
    limit: {output_tokens: 600, every: 1h, on_exceed: cut}
"""
    with running_penstock(tmp_path / "a", policy, upstream) as proxy, client(proxy) as web:
        sdk = openai.OpenAI(api_key="sk-test", http_client=web, max_retries=0)
        got = ""
        with pytest.raises(openai.APIError, match="was reached in this answer"):
            for chunk in sdk.chat.completions.create(
                model="gpt-5-mini",
                messages=[{"role": "user", "content": words}],
                stream=True,
            ):
                got += chunk.choices[0].delta.content or "" if chunk.choices else ""
        assert 2000 < len(got.encode()) < 6000  # 600 tokens, of the 5000 it would have had
        record = proxy.records(1)[0]
        assert record["outcome"] == "refused" and record["verdict"] == "deny"
        assert record["usage"]["estimated"] is True
        assert 500 < record["usage"]["output"] < 1500
        assert ask(web).status_code == 429  # the debt is kept


def test_a_stream_below_its_limit_is_not_touched(tmp_path: Path, upstream: Upstream) -> None:
    policy = """
version: 1
rules:
  - {id: long, limit: {output_tokens: 60_000, every: 1h, on_exceed: cut}}
"""
    with running_penstock(tmp_path / "a", policy, upstream) as proxy, client(proxy) as web:
        text = "word " * 1000
        answer = ask(web, text, stream=True)
        words = [
            json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            for line in answer.text.splitlines()
            if line.startswith("data: {")
        ]
        assert "".join(words) == f"Echo: {text}"


def test_a_call_beyond_its_limit_goes_to_another_model(
    tmp_path: Path, upstream: Upstream, provider: Provider
) -> None:
    policy = """
version: 1
rules:
  - id: dear
    limit: {requests: 1, every: 1h, per: [model], on_exceed: {downgrade: {model: gpt-5-nano}}}
"""
    with running_penstock(tmp_path / "a", policy, upstream) as proxy, client(proxy) as web:
        answers = [ask(web) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.json()["model"] for answer in answers[:2]] == [
            "gpt-5-mini-2026-01-01",
            "gpt-5-nano-2026-01-01",
        ]
        before, after = provider.received[-2:]
        assert after == before.replace(b"gpt-5-mini", b"gpt-5-nano")
        records = proxy.records(3)
        assert [record["model"] for record in records[:2]] == ["gpt-5-mini", "gpt-5-nano"]
        assert records[1]["verdict"] == "edit"


def test_tokens_are_counted_where_a_limit_says_so(tmp_path: Path, upstream: Upstream) -> None:
    """900 words are 900 tokens and not a quarter of their bytes; the second call is too much."""
    policy = """
version: 1
rules:
  - {id: exact, limit: {input_tokens: 1000, every: 1h, estimate: tiktoken}}
"""
    with running_penstock(tmp_path / "a", policy, upstream) as proxy, client(proxy) as web:
        assert status_of(proxy)["exact_counts"] == "available"
        text = "word " * 900
        body = json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": text}]})
        assert len(body) / 4 > 1000  # what would be reserved without
        assert ask(web, text).status_code == 200
        refused = ask(web, text)
        assert refused.status_code == 429 and "exact" in refused.text
        assert ask(web, "short").status_code == 429  # the provider said 1125: the debt is kept
        records = proxy.records(3)
        assert [record["verdict"] for record in records] == ["allow", "deny", "deny"]


def test_a_long_text_is_counted_beside_the_loop(tmp_path: Path, upstream: Upstream) -> None:
    """Short calls are answered while a long one is counted for the first time."""
    policy = """
version: 1
rules:
  - {id: exact, limit: {tokens: 1_000_000, every: 1h, estimate: tiktoken}}
"""
    with running_penstock(tmp_path / "a", policy, upstream) as proxy, client(proxy) as web:
        assert ask(web).status_code == 200  # loads the vocabulary
        answers: list[int] = []
        long = threading.Thread(target=lambda: answers.append(ask(web, "a" * 60_000).status_code))
        long.start()
        while long.is_alive():
            assert ask(web, "short").status_code == 200
        assert answers == [200]
        own = [record["seconds"]["own"] for record in proxy.records(3)]
        assert min(own) < 0.02


class FlakyProvider(Provider):
    """Fails each call twice before it answers."""

    async def chat(self, request: Request) -> Response:
        answer = await super().chat(request)
        if int(request.headers["x-stainless-retry-count"]) < 2:
            return JSONResponse({"error": {"message": "down"}}, 500, {"retry-after-ms": "1"})
        return answer


def test_an_sdks_retries_are_not_counted_twice(tmp_path: Path) -> None:
    """Three calls with two retries each are three requests; the fourth is one too many."""
    policy = """
version: 1
rules:
  - {id: three, limit: {requests: 3, every: 1h}}
"""
    provider = FlakyProvider()
    with (
        https_server(tmp_path / "flaky", provider.application, HOSTS) as upstream,
        running_penstock(tmp_path / "a", policy, upstream) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in proxy.environment.items():
            patch.setenv(name, value)
        sdk = openai.OpenAI(api_key="sk-test", max_retries=2)
        for _ in range(3):
            sdk.chat.completions.create(
                model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}]
            )
        assert len(provider.received) == 9
        assert [record.get("retry", 0) for record in proxy.records(9)] == [0, 1, 2] * 3
        with pytest.raises(openai.RateLimitError):
            sdk.chat.completions.create(
                model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}]
            )
        assert len(provider.received) == 9


class EndlessProvider(Provider):
    """Streams begin and do not end before the client goes away."""

    async def chat_events(
        self, common: dict[str, Any], question: str, wanted: bool
    ) -> AsyncIterator[bytes]:
        async for event in super().chat_events(common, question, wanted):
            yield event
            await asyncio.sleep(0.05)
        while True:
            yield b": still there\n\n"
            await asyncio.sleep(0.05)


def test_calls_at_the_same_time_are_counted_while_they_run(tmp_path: Path) -> None:
    policy = """
version: 1
rules:
  - {id: once, limit: {parallel: 1}}
"""
    with (
        https_server(tmp_path / "endless", EndlessProvider().application, HOSTS) as upstream,
        running_penstock(tmp_path / "a", policy, upstream) as proxy,
        client(proxy) as web,
    ):
        body = {
            "model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}],
        }  # fmt: skip
        with web.stream("POST", "https://api.openai.com/v1/chat/completions", json=body) as running:
            assert running.status_code == 200
            pieces = running.iter_raw()  # kept: httpx hangs up when its iterator is forgotten
            next(pieces)
            refused = ask(web)
            assert refused.status_code == 429
            assert "calls at the same time" in refused.text
        deadline = time.monotonic() + 20  # the proxy has to notice that the client went away
        while ask(web).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
