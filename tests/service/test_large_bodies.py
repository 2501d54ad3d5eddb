"""A large body is judged aside: others do not wait, and the verdict is the same."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from penstock.detect import Detectors, known_types
from penstock.proxy.offload import offload
from penstock.proxy.service import SWITCH_SECONDS
from tests.harness import Penstock, https_server, running_penstock
from tests.sdk.provider import HOSTS, Provider

POLICY = """
version: 1
name: large
rules:
  - id: no-secrets-out
    redact: {find: [secret, pii.email], in: [both]}
  - id: hourly
    limit: {tokens: 100_000_000, every: 1h}
"""
WORDS = "the gate of the dam lets water out and the turbine turns it into light "
LARGE = WORDS * 3000
# Reading 5 MB over TLS and parsing it hold the loop for tens of milliseconds in any proxy of this
# kind; judging it on the loop held it for more than 200.
LAG_SECONDS_MAX = 0.15
TRIES = 3


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def proxy(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Penstock]:
    with (
        https_server(tmp_path / "up", provider.application, HOSTS) as upstream,
        running_penstock(tmp_path / "p", POLICY, upstream) as started,
    ):
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        yield started


# In a process of its own, so that the probe measures the proxy and not this test.
CLIENT = f"""
import openai
text = {WORDS!r} * {5 * 1024 * 1024 // len(WORDS)}
answer = openai.OpenAI(api_key="sk-nothing").chat.completions.create(
    model="gpt-5-mini", messages=[{{"role": "user", "content": text}}]
)
print(answer.choices[0].message.content[:14], end="")
"""


def ask(text: str) -> str | None:
    answer = openai.OpenAI(api_key="sk-nothing").chat.completions.create(
        model="gpt-5-mini", messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content


def test_a_secret_in_a_large_prompt_stays_in(
    proxy: Penstock, provider: Provider, secret: str
) -> None:
    """The verdict, the edit, the limit and the way back are those of a small call."""
    text = f"{LARGE[:200_000]} {secret} {LARGE[:200_000]}"
    assert ask(text) == f"Echo: {text}"
    assert secret.encode() not in provider.received[-1]
    (record,) = proxy.records(1)
    assert record["verdict"] == "edit" and record["restored"] == 1
    assert "penstock_open_reservations 0.0" in proxy.metrics()


def test_others_do_not_wait_for_a_large_prompt(proxy: Penstock) -> None:
    """The quietest of some tries counts: whatever else the machine does only adds to a gap."""
    ask("warm")
    assert min(longest_gap(proxy) for _ in range(TRIES)) < LAG_SECONDS_MAX


MEGABYTE = 1024 * 1024
SCRIPTS = (
    "The gate – it’s open. Вода течёт через плотину. 水从大坝流出。 \U0001f600 "
    "def f(x): return x['a'] + 1\n"
)
# Latin words in letters of other scripts.
DISGUISED = "\u0440\u0430\u0443\u0440\u0430\u043b \u0430\u0441\u0435\u043e\u0443\u0445 "


def filled(text: str, megabytes: float) -> str:
    return text * int(megabytes * MEGABYTE / len(text))


# What is judged by letters is slow to judge (seconds for 5 MB) and no less interruptible.
LARGE_TEXTS = {
    "prose": filled(WORDS, 5),
    "scripts": filled(SCRIPTS, 5),
    "base64": filled(base64.b64encode(WORDS.encode()).decode(), 5),
    "runs": filled(base64.b64encode(WORDS.encode()).decode() + " ", 5),
    "nested": filled(base64.b64encode(base64.b64encode(LARGE[:9000].encode())).decode() + " ", 5),
    "json": filled(json.dumps({"id": 1, "name": "Gate", "tags": ["a", "b"], "at": 3.25}), 5),
    "digits": filled("4929 1234 5678 9012, ", 1),
    "word": "a" * 5 * MEGABYTE,
    "mail": filled("someone@example.com, ", 1),
    "keys": filled("-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA7bq0z7Y8Fh3k\n" * 3, 1),
    "look-alikes": filled(DISGUISED + DISGUISED.replace("\u0430", "a"), 0.5),
    "zero-width": "\u200b".join(filled(WORDS, 0.25)),
    "invisible": "\u200b" * (MEGABYTE // 4),
}
# CPU that the worker may use between two turns of the loop. The aim is 5 ms, but a busy machine
# wakes the loop late; a sort of all findings took 50 ms.
HELD_SECONDS_MAX = 0.02


@pytest.mark.parametrize("kind", sorted(LARGE_TEXTS))
def test_the_loop_goes_on_while_a_large_text_is_searched(kind: str) -> None:
    """Every detector over a large text in the worker: what it keeps from the loop itself."""
    detectors = Detectors(known_types())
    text = LARGE_TEXTS[kind]
    clocks: list[int] = []

    def judge() -> None:
        clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
        detectors.scan(text, "tool_result")

    async def longest_turn() -> float:
        clocks.clear()
        judged = asyncio.ensure_future(offload(judge))
        while not clocks:
            await asyncio.sleep(0)
        turns = []
        while not judged.done():
            began = time.clock_gettime(clocks[0])
            await asyncio.sleep(0.001)
            turns.append(time.clock_gettime(clocks[0]) - began)
        assert len(turns) > 5
        return max(turns)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)  # as the running proxy does
    try:
        assert any(asyncio.run(longest_turn()) < HELD_SECONDS_MAX for _ in range(TRIES))
    finally:
        sys.setswitchinterval(interval)


def longest_gap(proxy: Penstock) -> float:
    """The longest wait for the health page, in seconds, while a large prompt is judged."""
    gaps: list[float] = []
    done = threading.Event()
    host, _, port = proxy.admin.rpartition(":")

    def probe() -> None:
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        while not done.is_set():
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            gaps.append(time.perf_counter() - began)
            time.sleep(0.001)

    thread = threading.Thread(target=probe)
    thread.start()
    finished = proxy.run(sys.executable, "-c", CLIENT)
    done.set()
    thread.join()
    assert finished.stdout == "Echo: the gate", finished.stderr
    assert len(gaps) > 50
    return max(gaps)
