"""Prices: checked by hand against unit prices, and never zero for what is unknown."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from decimal import Decimal

import pytest

from penstock.exchange import Usage
from penstock.meter.prices import (
    MODEL_UNKNOWN,
    MODELS_KEPT,
    PROVIDER_UNKNOWN,
    SOURCE,
    SOURCE_ESTIMATED,
    USAGE_UNKNOWN,
    Prices,
)

# 2026-06-20: prices carry dates, so the tests do too.
NOW = 1_781_956_800.0
CHAT = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "prompt_tokens_details": {"cached_tokens": 1024},
}
ANTHROPIC = {
    "input_tokens": 100,
    "output_tokens": 200,
    "cache_read_input_tokens": 5000,
    "cache_creation_input_tokens": 2000,
    "cache_creation": {"ephemeral_5m_input_tokens": 1500, "ephemeral_1h_input_tokens": 500},
}
GEMINI = {"promptTokenCount": 1000, "candidatesTokenCount": 100, "cachedContentTokenCount": 400,
          "thoughtsTokenCount": 250}  # fmt: skip


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices()


def dollars(text: str) -> Decimal:
    return Decimal(text)


def test_cached_input_of_openai_costs_half(prices):
    # 176 at $2.50, 1024 at $1.25, 300 at $10.00 per million
    price = prices.price("openai", "openai.chat_completions", "gpt-4o", None, Usage(raw=CHAT), NOW)
    assert (price.usd, price.source) == (dollars("0.00472"), SOURCE)


def test_anthropic_cache_writes_of_two_kinds_are_told_apart(prices):
    # 100 at $3, 5000 at $0.30, 1500 at $3.75, 500 at $6, 200 at $15 per million
    usage = Usage(raw=ANTHROPIC)
    price = prices.price("anthropic", "anthropic.messages", "claude-sonnet-4-5", None, usage, NOW)
    assert price.usd == dollars("0.013425")


def test_gemini_thoughts_are_output(prices):
    # 600 at $0.30, 400 cached at $0.03, 350 at $2.50 per million
    usage = Usage(raw=GEMINI)
    for model in ("gemini-2.5-flash", "models/gemini-2.5-flash"):
        price = prices.price("gemini", "google.generate_content", model, None, usage, NOW)
        assert price.usd == dollars("0.001067")


def test_a_vertex_publisher_path_is_a_model(prices):
    model = "projects/p/locations/us/publishers/google/models/gemini-2.5-flash"
    price = prices.price("vertex", "google.generate_content", model, None, Usage(raw=GEMINI), NOW)
    assert price.usd == dollars("0.001067")


def test_an_azure_deployment_is_priced_by_the_model_that_answered(prices):
    usage, api = Usage(raw=CHAT), "openai.chat_completions"
    assert prices.price("azure", api, "our-deployment", None, usage, NOW).source == MODEL_UNKNOWN
    answered = prices.price("azure", api, "our-deployment", "gpt-4o-2024-08-06", usage, NOW)
    assert answered.usd == dollars("0.00472")


def test_deepseeks_own_name_for_cached_tokens_is_read(prices):
    raw = {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_cache_hit_tokens": 900,
           "prompt_cache_miss_tokens": 100}  # fmt: skip
    api, whole = "openai.chat_completions", {"prompt_tokens": 1000, "completion_tokens": 10}
    cached = prices.price("deepseek", api, "deepseek-chat", None, Usage(raw=raw), NOW)
    full = prices.price("deepseek", api, "deepseek-chat", None, Usage(raw=whole), NOW)
    assert cached.usd < full.usd


@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ],
)
def test_bedrock_names_of_a_model_are_matched_from_the_request(prices, model):
    raw = {"inputTokens": 1000, "outputTokens": 100, "totalTokens": 1100}
    price = prices.price("bedrock", "bedrock.converse", model, None, Usage(raw=raw), NOW)
    assert price.usd and dollars("0.004") < price.usd < dollars("0.006")


def test_a_responses_call_and_an_embedding_are_priced(prices):
    raw = {"input_tokens": 1000, "output_tokens": 100, "output_tokens_details": {}}
    answer = prices.price("openai", "openai.responses", "gpt-4o", None, Usage(raw=raw), NOW)
    assert answer.usd == dollars("0.0035")
    embedding = Usage(raw={"prompt_tokens": 1000, "total_tokens": 1000})
    price = prices.price(
        "openai", "openai.embeddings", "text-embedding-3-small", None, embedding, NOW
    )
    assert price.usd == dollars("0.00002")


def test_without_the_providers_object_our_totals_are_priced_and_marked(prices):
    usage = Usage(input_total=1000, output_total=100, estimated=True)
    price = prices.price("openai", "openai.chat_completions", "gpt-4o", None, usage, NOW)
    assert (price.usd, price.source) == (dollars("0.0035"), SOURCE_ESTIMATED)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "reason"),
    [
        (None, "gpt-4o", Usage(raw=CHAT), PROVIDER_UNKNOWN),
        ("ollama", "llama3", Usage(raw=CHAT), PROVIDER_UNKNOWN),
        ("openai", "no-such-model", Usage(raw=CHAT), MODEL_UNKNOWN),
        ("openai", None, Usage(raw=CHAT), MODEL_UNKNOWN),
        ("openai", "x" * 100_000, Usage(raw=CHAT), MODEL_UNKNOWN),
        ("openai", "gpt-4o", Usage(), USAGE_UNKNOWN),
        ("openai", "gpt-4o", Usage(raw={}), USAGE_UNKNOWN),
        ("openai", "gpt-4o", Usage(raw={"prompt_tokens": "many"}), USAGE_UNKNOWN),
        ("openai", "gpt-4o", Usage(raw={"prompt_tokens": -5}), USAGE_UNKNOWN),
        ("openai", "gpt-4o", Usage(raw={"prompt_tokens": {"a": 1}}), USAGE_UNKNOWN),
    ],
)
def test_what_cannot_be_priced_says_why_and_is_not_zero(prices, provider, model, usage, reason):
    price = prices.price(provider, "openai.chat_completions", model, None, usage, NOW)
    assert (price.usd, price.source) == (None, reason)


def test_ten_thousand_model_names_are_not_all_remembered(prices):
    for number in range(2 * MODELS_KEPT):
        prices.price("openai", "openai.chat_completions", f"gpt-4o-{number}", None, Usage(raw=CHAT))
    assert len(prices._models) == MODELS_KEPT


def test_loading_happens_off_the_loop():
    """While the data loads, the loop keeps turning."""
    code = (
        "import asyncio, sys\n"
        "from penstock.meter.prices import Prices\n"
        "async def main():\n"
        "    prices = Prices(); assert 'genai_prices' not in sys.modules\n"
        "    loading = asyncio.create_task(prices.load()); turns = 0\n"
        "    while not loading.done(): await asyncio.sleep(0.002); turns += 1\n"
        "    assert prices.loaded; print(turns)\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 10


def test_two_first_calls_at_a_time_load_once():
    fresh = Prices()

    async def both() -> None:
        await asyncio.gather(fresh.load(), fresh.load())

    asyncio.run(both())
    assert fresh.loaded


def test_recorded_traffic_has_the_price_the_library_says(prices, recordings):
    """Plain answers of the recordings: our way and the library's own must agree to the cent."""
    from genai_prices import extract_usage

    compared = 0
    flavors = {"openai.chat_completions": "chat", "openai.responses": "responses",
               "anthropic.messages": "default", "google.generate_content": "default"}  # fmt: skip
    ids = {"gemini": "google", "vertex": "google"}
    for one in recordings:
        if one["streaming"] or one["api"] not in flavors or one["response"]["encoding"] != "text":
            continue
        try:
            body = json.loads(one["response"]["body"])
            provider = ids.get(one["provider"], one["provider"])
            library = extract_usage(body, provider_id=provider, api_flavor=flavors[one["api"]])
            expected = library.calc_price().total_price
        except (ValueError, LookupError):
            continue
        raw = body.get("usage") or body.get("usageMetadata")
        model = body.get("model") or body.get("modelVersion")
        got = prices.price(one["provider"], one["api"], None, model, Usage(raw=raw))
        assert got.usd == expected, one["id"]
        compared += 1
    assert compared > 20
