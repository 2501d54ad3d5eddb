"""The short way to a price: the same Decimal as genai-prices gives, or none at all."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as Consumption
from genai_prices.data import providers
from genai_prices.types import ModelInfo, Provider

from penstock.exchange import Usage
from penstock.meter.priced_shapes import SHAPES_MAX, PricedShapes, counts_of
from penstock.meter.prices import USAGE_UNKNOWN, Prices

# Two moments between which dated prices change.
MOMENTS = (
    datetime(2025, 3, 1, 12, tzinfo=UTC),
    datetime(2026, 6, 20, 18, tzinfo=UTC),
)
# Below and above every tier; whole and in parts; with nothing given out and with nothing taken in.
COUNTS: tuple[dict[str, int], ...] = (
    {"input_tokens": 1203, "output_tokens": 307},
    {"input_tokens": 999_983, "output_tokens": 65_521},
    {"input_tokens": 1203, "output_tokens": 0},
    {"input_tokens": 0, "output_tokens": 17},
    {"input_tokens": 3001, "output_tokens": 9, "cache_read_tokens": 1021},
    {"input_tokens": 300_007, "output_tokens": 9, "cache_read_tokens": 250_007},
    {
        "input_tokens": 9001,
        "output_tokens": 703,
        "cache_read_tokens": 1021,
        "cache_write_tokens": 2039,
        "cache_write_5m_tokens": 2000,
        "cache_write_1h_tokens": 39,
        "output_reasoning_tokens": 499,
    },
    {
        "input_tokens": 5003,
        "output_tokens": 211,
        "cache_read_tokens": 0,
        "input_text_tokens": 4001,
        "input_image_tokens": 1002,
        "output_text_tokens": 211,
    },
    {"input_tokens": 5003, "output_tokens": 211, "input_audio_tokens": 401},
    {"input_tokens": 10, "output_tokens": 1, "cache_read_tokens": 11},  # a part above its whole
    {"output_tokens": 5, "cache_read_tokens": 11},  # parts of what is not given
)
WHOLE = {"prompt_tokens": 5, "completion_tokens": 1}
MODELS = [(provider, model) for provider in providers for model in provider.models]


def asked(provider: Provider, model: ModelInfo, counts: dict[str, int], moment: datetime):
    """What genai-prices says, None when it raises."""
    try:
        return model.calc_price(
            Consumption(**counts), provider, genai_request_timestamp=moment
        ).total_price
    except ValueError:
        return None


def test_every_model_is_priced_to_the_same_decimal():
    """All models, dates, tiers and kinds of usage: equal in value and in exponent, or not known."""
    known = 0
    for provider, model in MODELS:
        shapes = PricedShapes()
        for moment in MOMENTS:
            prices = model.get_prices(moment)
            for counts in COUNTS:
                right = asked(provider, model, counts, moment)
                if right is not None:
                    shapes.learn(prices, counts)
                # Other numbers of the same shape, so that nothing can be a stored result.
                more = {name: count * 3 for name, count in counts.items()}
                quick = shapes.total(prices, more)
                if quick is not None:
                    known += 1
                    assert str(quick) == str(asked(provider, model, more, moment)), model.id
    assert known > 0.75 * len(MODELS) * len(MOMENTS) * (len(COUNTS) - 2)


def test_a_part_above_its_whole_is_left_to_genai_prices():
    prices = model_named("openai", "gpt-4o").get_prices(MOMENTS[1])
    shapes = PricedShapes()
    counts = {"input_tokens": 20, "output_tokens": 1, "cache_read_tokens": 5}
    shapes.learn(prices, counts)
    assert shapes.total(prices, counts) is not None
    assert shapes.total(prices, {**counts, "cache_read_tokens": 21}) is None


def test_counts_that_would_be_rounded_are_left_to_genai_prices():
    prices = model_named("openai", "gpt-4o").get_prices(MOMENTS[1])
    shapes = PricedShapes()
    shapes.learn(prices, {"input_tokens": 20, "output_tokens": 1})
    assert shapes.total(prices, {"input_tokens": 10**30, "output_tokens": 1}) is None


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": -1},
        {"prompt_tokens": 5, "completion_tokens": True},
        {"prompt_tokens": 5, "completion_tokens": 1.5},
        {"prompt_tokens": "5", "completion_tokens": 1},
        {**WHOLE, "prompt_tokens_details": {"cached_tokens": "9"}},
        {},
    ],
)
def test_an_unusual_usage_object_is_left_to_its_extractor(usage):
    assert counts_of(extractor("openai", "chat"), usage) is None


def test_a_usage_object_is_read_as_its_extractor_reads_it():
    """Sums over several fields, nested fields and matched list elements."""
    cases = (
        ("anthropic", "default", {"usage": ANTHROPIC}, ANTHROPIC),
        ("google", "default", {"usageMetadata": GEMINI}, GEMINI),
    )
    for name, flavor, document, usage in cases:
        _, consumed = provider_named(name).extract_usage(document, api_flavor=flavor)
        assert Consumption(**counts_of(extractor(name, flavor), usage)) == consumed


def test_the_shapes_kept_are_bounded():
    prices, shapes = model_named("openai", "gpt-4o").get_prices(MOMENTS[1]), PricedShapes()
    for number in range(SHAPES_MAX + 10):
        shapes.learn(prices, {"input_tokens": 1, f"other_{number}": 1})
    assert len(shapes._steps) <= SHAPES_MAX


def test_the_second_price_of_a_shape_is_the_first_ones_equal():
    """Through Prices: the learned way answers the same, a broken usage still has no price."""
    prices, now = Prices(), MOMENTS[1].timestamp()
    usage = Usage(input_total=7, raw={"prompt_tokens": 1200, "completion_tokens": 300})
    first, second = (
        prices.price("openai", "openai.chat_completions", "gpt-4o", None, usage, now)
        for _ in range(2)
    )
    assert first == second
    assert first.usd == Decimal("0.006")
    broken = Usage(raw={"prompt_tokens": 1200, "completion_tokens": -300})
    price = prices.price("openai", "openai.chat_completions", "gpt-4o", None, broken, now)
    assert (price.usd, price.source) == (None, USAGE_UNKNOWN)


ANTHROPIC = {
    "input_tokens": 100,
    "output_tokens": 200,
    "cache_read_input_tokens": 5000,
    "cache_creation_input_tokens": 2000,
    "cache_creation": {"ephemeral_5m_input_tokens": 1500, "ephemeral_1h_input_tokens": 500},
    "service_tier": "standard",
}
GEMINI = {
    "promptTokenCount": 1000,
    "candidatesTokenCount": 100,
    "thoughtsTokenCount": 250,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 900},
        {"modality": "AUDIO", "tokenCount": 100},
    ],
}


def provider_named(name: str) -> Provider:
    return next(provider for provider in providers if provider.id == name)


def model_named(provider: str, name: str) -> ModelInfo:
    return next(model for model in provider_named(provider).models if model.id == name)


def extractor(provider: str, flavor: str):
    extractors = provider_named(provider).extractors or ()
    return next(one for one in extractors if one.api_flavor == flavor)
