"""What a call cost, from genai-prices, in Decimal US dollars.

A call that cannot be priced says why and is never free. The price data (15 MB on top of a
running proxy, half a second) is loaded at the first call that needs it, in a thread when
``load`` is awaited first, so the start does not pay for it and the loop at most 35 ms once
(reading 1.6 MB of compiled data; ten times that where packages are installed without their
bytecode). The package's network updater is never started: prices are those of the
installed version.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from penstock.exchange import Usage
from penstock.meter.priced_shapes import Counts, PricedShapes, counts_of

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider, UsageExtractor

SOURCE = "genai-prices"
SOURCE_ESTIMATED = "genai-prices, tokens estimated"

PROVIDER_UNKNOWN = "provider_unknown"
MODEL_UNKNOWN = "model_unknown"
USAGE_UNKNOWN = "usage_unknown"

# Model names are the caller's choice and matching one takes some 50 µs: the last ones are kept.
MODELS_KEPT = 1000
MODEL_CHARACTERS_MAX = 300  # an inference profile's ARN has some 150

# penstock's provider -> genai-prices'. Others have the same id there, or none.
PROVIDERS = {
    "gemini": "google",
    "vertex": "google",
    "google": "google",
    "bedrock": "aws",
    "amazon_nova": "aws",
    "xai": "x-ai",
    "moonshot": "moonshotai",
    "github_copilot": "github-copilot",
}

# The beginning of an API family's name -> the extractors that read its usage, best first.
FLAVORS = (
    ("openai.responses", ("responses", "chat", "default")),
    ("openai.embeddings", ("embeddings", "chat", "default")),
    ("openai.images", ("images",)),
    ("openai.realtime", ("realtime",)),
    ("openai", ("chat", "default")),
    ("anthropic", ("anthropic", "default")),
    ("bedrock.invoke", ("anthropic", "default")),
    ("cohere", ("default", "tokens")),
    ("", ("default", "chat")),
)

# Google's and Bedrock's ways of writing a model. Linear: anchored, negated classes.
MODEL_PREFIX = re.compile(
    r"^(?:models/|(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/)"
)


@dataclass(slots=True, frozen=True)
class Price:
    """``usd`` is None when unpriced; ``source`` then is the reason, else who set the price."""

    usd: Decimal | None
    source: str


class Prices:
    """Loads at first use. One per process."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._models: OrderedDict[tuple[str, str], ModelInfo | None] = OrderedDict()
        self._shapes = PricedShapes()
        self._extractors: dict[tuple[str, str], Sequence[UsageExtractor]] = {}  # by API family

    @property
    def loaded(self) -> bool:
        """True when ``price`` answers at once."""
        return "_providers" in self.__dict__

    async def load(self) -> None:
        """Load the data in a thread. Await it before ``price`` on an event loop."""
        if not self.loaded:
            await asyncio.to_thread(self._load)

    def price(
        self,
        provider: str | None,
        api: str | None,
        model_request: str | None,
        model_answer: str | None,
        usage: Usage,
        now: float | None = None,
    ) -> Price:
        """The price of one call at ``now`` (epoch seconds; prices have dates).

        The model of the answer counts first: an Azure deployment's name says nothing. Bodies
        without a model (Bedrock) are priced by the request's.
        """
        if not provider or (usage.raw is None and not _reported(usage)):
            return Price(None, USAGE_UNKNOWN if provider else PROVIDER_UNKNOWN)
        known = self._load().get(PROVIDERS.get(provider, provider).lower())
        if known is None:
            return Price(None, PROVIDER_UNKNOWN)
        model = self._model(known, model_answer) or self._model(known, model_request)
        if model is None:
            return Price(None, MODEL_UNKNOWN)
        moment = datetime.fromtimestamp(now, UTC) if now else datetime.now(UTC)
        try:
            total = self._total(known, model, api or "", usage, moment)
        except (ValueError, LookupError, TypeError, ArithmeticError):
            return Price(None, USAGE_UNKNOWN)
        return Price(total, SOURCE_ESTIMATED if usage.estimated else SOURCE)

    def _total(
        self, provider: Provider, model: ModelInfo, api: str, usage: Usage, moment: datetime
    ) -> Decimal:
        """As genai-prices has it: asked for the first usage of a shape, followed for the next."""
        extractors = self._extractors_of(provider, api)
        counts, prices = _counts(extractors, usage), model.get_prices(moment)
        total = self._shapes.total(prices, counts) if counts else None
        if total is None:
            consumed = _consumption(provider, extractors, usage)
            total = model.calc_price(consumed, provider, genai_request_timestamp=moment).total_price
            if counts:
                self._shapes.learn(prices, counts)
        return total

    def _extractors_of(self, provider: Provider, api: str) -> Sequence[UsageExtractor]:
        """What reads the usage of this API at this provider, best first."""
        found = self._extractors.get((provider.id, api))
        if found is None:
            offered = {one.api_flavor: one for one in reversed(provider.extractors or ())}
            wanted = next(flavors for start, flavors in FLAVORS if api.startswith(start))
            found = [offered[flavor] for flavor in wanted if flavor in offered]
            self._extractors[provider.id, api] = found
        return found

    def _load(self) -> Mapping[str, Provider]:
        with self._loading:  # two first calls at a time load once
            return self._providers

    @cached_property
    def _providers(self) -> Mapping[str, Provider]:
        from genai_prices.data import providers

        return {provider.id: provider for provider in providers}

    def _model(self, provider: Provider, name: str | None) -> ModelInfo | None:
        if not name or len(name) > MODEL_CHARACTERS_MAX:
            return None
        key = (provider.id, name)
        if key in self._models:
            self._models.move_to_end(key)
            return self._models[key]
        found = provider.find_model(
            MODEL_PREFIX.sub("", name), all_providers=list(self._providers.values())
        )
        self._models[key] = found
        if len(self._models) > MODELS_KEPT:
            self._models.popitem(last=False)
        return found


def _reported(usage: Usage) -> bool:
    return usage.input_total is not None or usage.input_tokens is not None


def _counts(extractors: Sequence[UsageExtractor], usage: Usage) -> Counts | None:
    """What ``_consumption`` reads where a usage is ordinary, None where it is not."""
    if not usage.raw:
        counts = _given(usage)
        return {name: count for name, count in counts.items() if count is not None}
    if not extractors or "billed_units" in extractors[0].root:  # Cohere: inside, or outside
        return None
    return counts_of(extractors[0], _completed(usage.raw))


def _consumption(provider: Provider, extractors: Sequence[UsageExtractor], usage: Usage) -> Any:
    """The units to pay for: read from the provider's own object, else from our totals."""
    if usage.raw:
        body = _completed(usage.raw)
        for extractor in extractors:
            flavor = extractor.api_flavor
            try:
                return provider.extract_usage(_rooted(extractor, body), api_flavor=flavor)[1]
            except ValueError:  # another flavour's fields
                continue
    if not _reported(usage):
        raise ValueError("no usage")
    from genai_prices import Usage as Consumption

    return Consumption(**_given(usage))


def _given(usage: Usage) -> dict[str, int | None]:
    """Our totals under genai-prices' names."""
    return {
        "input_tokens": usage.input_tokens if usage.input_total is None else usage.input_total,
        "output_tokens": usage.output_tokens if usage.output_total is None else usage.output_total,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
    }


def _rooted(extractor: UsageExtractor, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The usage object where this extractor looks for it in an answer."""
    names = [extractor.root] if isinstance(extractor.root, str) else list(extractor.root)
    body: Mapping[str, Any] = raw
    for name in reversed(names):
        if body is raw and name == "billed_units" and name in raw:  # Cohere: the inner object
            continue
        body = {str(name): body}
    return body


def _completed(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """DeepSeek reports cached tokens under a name of its own; say it in the usual one too."""
    hits = raw.get("prompt_cache_hit_tokens")
    if isinstance(hits, int) and not raw.get("prompt_tokens_details"):
        return {**raw, "prompt_tokens_details": {"cached_tokens": hits}}
    return raw
