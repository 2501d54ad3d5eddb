"""How the real openai and anthropic SDKs take each kind of refusal: class, attempts, time spent.

The first table is what a provider says and Penstock passes on untouched: the SDKs behave as
without it. The second is what Penstock itself says. Waits are recorded, not slept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import anthropic._base_client
import openai
import openai._base_client
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.harness import Penstock, https_server, running_penstock
from tests.sdk.provider import HOSTS, Provider

# What neither SDK needs a server to wait for: its own time between call and error.
AT_ONCE_SECONDS = 10.0

# Row of the table -> (status, headers). The model's name asks for it.
SAID: dict[str, tuple[int, dict[str, str]]] = {
    "429-bare": (429, {}),
    "429-after-1": (429, {"retry-after": "1"}),
    "429-after-ms-200": (429, {"retry-after-ms": "200"}),
    "429-after-3600": (429, {"retry-after": "3600"}),
    "429-after-3600-stop": (429, {"retry-after": "3600", "x-should-retry": "false"}),
    "403": (403, {}),
    "402": (402, {}),
    "400": (400, {}),
    "503-stop": (503, {"x-should-retry": "false"}),
}
# Row -> (class, attempts, seconds waited at least and at most) of each SDK.
Row = tuple[type[Exception], int, float, float]
OPENAI: dict[str, Row] = {
    "429-bare": (openai.RateLimitError, 3, 1.0, 1.6),
    "429-after-1": (openai.RateLimitError, 3, 2.0, 2.0),
    "429-after-ms-200": (openai.RateLimitError, 3, 0.4, 0.4),
    "429-after-3600": (openai.RateLimitError, 1, 0.0, 0.0),
    "429-after-3600-stop": (openai.RateLimitError, 1, 0.0, 0.0),
    "403": (openai.PermissionDeniedError, 1, 0.0, 0.0),
    "402": (openai.APIStatusError, 1, 0.0, 0.0),
    "400": (openai.BadRequestError, 1, 0.0, 0.0),
    "503-stop": (openai.InternalServerError, 1, 0.0, 0.0),
}
ANTHROPIC: dict[str, Row] = {
    "429-bare": (anthropic.RateLimitError, 3, 1.0, 1.6),
    "429-after-1": (anthropic.RateLimitError, 3, 2.0, 2.0),
    "429-after-ms-200": (anthropic.RateLimitError, 3, 0.4, 0.4),
    "429-after-3600": (anthropic.RateLimitError, 3, 7200.0, 7200.0),  # why we send the header
    "429-after-3600-stop": (anthropic.RateLimitError, 1, 0.0, 0.0),
    "403": (anthropic.PermissionDeniedError, 1, 0.0, 0.0),
    "402": (anthropic.APIStatusError, 1, 0.0, 0.0),
    "400": (anthropic.BadRequestError, 1, 0.0, 0.0),
    "503-stop": (anthropic.InternalServerError, 1, 0.0, 0.0),
}

POLICY = """
version: 1
name: refusals
rules:
  - id: no-old-models
    deny: {models: [denied-*]}
  - id: keys-never
    deny: {find: [secret.private_key]}
  - id: short
    limit: {requests: 1, every: 40s, per: [model]}
    when: call.model == "short-1" || call.model == "short-2"
  - id: day
    limit: {requests: 1, every: 1d, per: [model]}
    when: call.model == "day-1" || call.model == "day-2"
  - id: too-large
    limit: {input_tokens: 10, every: 1h, per: [model]}
    when: call.model == "large-1" || call.model == "large-2"
  - id: real-key
    credential: {hosts: [api.openai.com, api.anthropic.com], from: {file: /no/such/key}}
    when: call.model == "keyless"
"""


class Refusing(Provider):
    """Answers by the model's name as the table says; counts attempts."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: Counter[str] = Counter()
        chat, messages = self.chat, self.messages

        async def answer(request: Request) -> Response:
            model = (await request.json())["model"]
            self.attempts[model] += 1
            if model not in SAID:
                way = chat if request.url.path.endswith("/completions") else messages
                return await way(request)
            status, headers = SAID[model]
            body = {"type": "error", "error": {"type": "x", "message": "no", "code": "x"}}
            return JSONResponse(body, status, headers)

        paths = ("/v1/chat/completions", "/v1/messages")
        self.application = Starlette(routes=[Route(p, answer, methods=["POST"]) for p in paths])


@dataclass
class Clock:
    """The ``time`` of an SDK: as it is, but nobody sleeps."""

    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@dataclass
class Tried:
    """What came of one call."""

    error: Any
    waited: float
    seconds: float


@dataclass
class World:
    """Both SDKs through a running proxy."""

    proxy: Penstock
    provider: Refusing
    clock: Clock

    def call(self, sdk: str, model: str, text: str = "hello") -> None:
        """One call with the SDK's own number of retries."""
        message: list[Any] = [{"role": "user", "content": text}]
        if sdk == "openai":
            openai.OpenAI(api_key="x").chat.completions.create(model=model, messages=message)
        else:
            client = anthropic.Anthropic(api_key="x")
            client.messages.create(model=model, max_tokens=9, messages=message)

    def fails(self, sdk: str, model: str, text: str = "hello") -> Tried:
        """The error of a call that must fail, and what it cost in time."""
        self.clock.slept.clear()
        began = time.monotonic()
        with pytest.raises((openai.APIError, anthropic.APIError)) as caught:
            self.call(sdk, model, text)
        return Tried(caught.value, sum(self.clock.slept), time.monotonic() - began)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Penstock, Refusing]]:
    provider, folder = Refusing(), tmp_path_factory.mktemp("refusals")
    with (
        https_server(folder / "provider", provider.application, HOSTS) as upstream,
        running_penstock(folder / "run", POLICY, upstream) as proxy,
    ):
        yield proxy, provider


@pytest.fixture
def world(started: tuple[Penstock, Refusing], monkeypatch: pytest.MonkeyPatch) -> World:
    proxy, provider = started
    for name, value in proxy.environment.items():
        monkeypatch.setenv(name, value)
    clock = Clock()
    monkeypatch.setattr(openai._base_client, "time", clock)
    monkeypatch.setattr(anthropic._base_client, "time", clock)
    return World(proxy, provider, clock)


@pytest.mark.parametrize("row", SAID)
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_what_a_provider_says_has_its_usual_effect(world: World, sdk: str, row: str) -> None:
    """Retry headers and status pass untouched: class, attempts and waits are the SDK's own."""
    kind, attempts, least, most = (OPENAI if sdk == "openai" else ANTHROPIC)[row]
    before = world.provider.attempts[row]
    tried = world.fails(sdk, row)
    assert isinstance(tried.error, kind)
    assert world.provider.attempts[row] - before == attempts
    assert least - 0.01 <= tried.waited <= most + 0.01
    assert tried.seconds < AT_ONCE_SECONDS


DENIED = {"openai": openai.PermissionDeniedError, "anthropic": anthropic.PermissionDeniedError}
LIMITED = {"openai": openai.RateLimitError, "anthropic": anthropic.RateLimitError}
KEY_TEXT = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA" + "a1B2c3D4" * 12 + "\n"


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("model", "text", "rule"),
    [
        ("denied-1", "hello", "no-old-models"),
        ("any", KEY_TEXT + "-----END RSA PRIVATE KEY-----", "keys-never"),
        ("keyless", "hello", "real-key"),
    ],
)
def test_a_denial_is_said_once(world: World, sdk: str, model: str, text: str, rule: str) -> None:
    """By model, by content, for want of a key: 403, one attempt, at once, nothing was sent."""
    before, sent = len(world.proxy.records()), world.provider.attempts[model]
    tried = world.fails(sdk, model, text)
    assert type(tried.error) is DENIED[sdk]
    assert tried.waited == 0.0 and tried.seconds < AT_ONCE_SECONDS
    assert tried.error.response.headers["x-should-retry"] == "false"
    assert rule in str(tried.error)
    assert len(world.proxy.records(before + 1)) == before + 1
    assert world.provider.attempts[model] == sent


@pytest.mark.parametrize(("sdk", "number"), [("openai", 1), ("anthropic", 2)])
def test_a_limit_that_opens_within_a_minute_is_waited_for(
    world: World, sdk: str, number: int
) -> None:
    """429, three attempts, and each wait is the real one to the millisecond."""
    model = f"short-{number}"
    world.call(sdk, model)
    before = len(world.proxy.records())
    tried = world.fails(sdk, model)
    assert type(tried.error) is LIMITED[sdk]
    assert len(world.clock.slept) == 2
    assert all(30 < seconds <= 42 for seconds in world.clock.slept), world.clock.slept
    assert "x-should-retry" not in tried.error.response.headers
    assert len(world.proxy.records(before + 3)) == before + 3
    assert world.provider.attempts[model] == 1


@pytest.mark.parametrize(("sdk", "number"), [("openai", 1), ("anthropic", 2)])
@pytest.mark.parametrize("limit", ["day", "large"])
def test_a_limit_that_opens_later_is_not(world: World, sdk: str, number: int, limit: str) -> None:
    """A day's budget, or a call larger than its limit: one attempt and no sleep, in both SDKs."""
    model = f"{limit}-{number}"
    if limit == "day":
        world.call(sdk, model)
    sent, before = world.provider.attempts[model], len(world.proxy.records())
    tried = world.fails(sdk, model, "word " * 100)
    assert type(tried.error) is LIMITED[sdk]
    assert tried.waited == 0.0 and tried.seconds < AT_ONCE_SECONDS
    headers = tried.error.response.headers
    assert headers["x-should-retry"] == "false" and int(headers["retry-after"]) > 0
    assert len(world.proxy.records(before + 1)) == before + 1
    assert world.provider.attempts[model] == sent


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_store_that_is_away_is_a_limit_that_may_open(tmp_path: Path, sdk: str) -> None:
    """The wait is a second or so, as the refusal says; the SDK comes back by itself."""
    provider = Refusing()
    policy = """
version: 1
store: redis://127.0.0.1:1
rules:
  - {id: shared, limit: {requests: 9, every: 1h}}
"""
    with (
        https_server(tmp_path / "provider", provider.application, HOSTS) as upstream,
        running_penstock(tmp_path / "run", policy, upstream) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in proxy.environment.items():
            patch.setenv(name, value)
        clock = Clock()
        patch.setattr(openai._base_client, "time", clock)
        patch.setattr(anthropic._base_client, "time", clock)
        tried = World(proxy, provider, clock).fails(sdk, "any")
        assert type(tried.error) is LIMITED[sdk]
        assert len(clock.slept) == 2 and all(0 < seconds <= 5 for seconds in clock.slept)
        assert "store of shared limits" in str(tried.error)
        assert not provider.attempts
