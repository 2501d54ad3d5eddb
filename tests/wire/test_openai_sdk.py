"""The real OpenAI client hears our refusals as its own errors, and does not retry them."""

from __future__ import annotations

import httpx
import openai
import pytest

from penstock.exchange import Exchange
from penstock.wire import family_of
from tests.wire.families import LIMITED, REFUSED

APIS = ("openai.chat_completions", "openai.responses")


def client(answer: httpx.Response, calls: list[httpx.Request]) -> openai.OpenAI:
    def serve(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return answer

    transport = httpx.Client(transport=httpx.MockTransport(serve))
    return openai.OpenAI(api_key="none", http_client=transport)


def call(sdk: openai.OpenAI, api: str, stream: bool) -> None:
    if api == "openai.responses":
        events = sdk.responses.create(model="m", input="x", stream=stream)
    else:
        events = sdk.chat.completions.create(model="m", messages=[], stream=stream)
    if stream:
        list(events)


@pytest.mark.parametrize("api", APIS)
def test_a_refused_call_raises_the_clients_permission_error_once(api: str) -> None:
    said = family_of(api).refusal(REFUSED)
    calls: list[httpx.Request] = []
    sdk = client(httpx.Response(said.status, headers=dict(said.headers), content=said.body), calls)
    with pytest.raises(openai.PermissionDeniedError, match=REFUSED.message):
        call(sdk, api, stream=False)
    assert len(calls) == 1


@pytest.mark.parametrize("api", APIS)
def test_a_refusal_inside_a_stream_raises_with_our_words(api: str) -> None:
    body = family_of(api).stream_refusal(Exchange(api), REFUSED)
    sdk = client(
        httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body), []
    )
    with pytest.raises(openai.APIError, match=REFUSED.message):
        call(sdk, api, stream=True)


@pytest.mark.parametrize("api", APIS)
def test_a_limit_raises_the_clients_rate_limit_error(api: str) -> None:
    said = family_of(api).refusal(LIMITED)
    sdk = client(httpx.Response(429, headers=dict(said.headers), content=said.body), [])
    with pytest.raises(openai.RateLimitError, match=LIMITED.message):
        call(sdk.with_options(max_retries=0), api, stream=False)
