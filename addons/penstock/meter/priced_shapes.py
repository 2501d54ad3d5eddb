"""Usage priced by the steps genai-prices took for the last usage of the same shape.

genai-prices works out anew for each call which counts there are, which of them are parts of
others and which prices apply: 100 µs to 300 µs. All that depends only on which counts are
given and which of them are zero. So the first usage of a shape is priced there, and later
ones by the same steps with other numbers: the same Decimal, exponent included. Whatever is
unusual (a count that is no plain integer, a part larger than its whole) is left to
genai-prices, error or not. The shapes kept are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices, UsageExtractor

# A few for each model in use; when full they are learned again.
SHAPES_MAX = 2000
# Beyond this a sum may be rounded (Decimal: 28 digits), and the order of its terms would count.
COUNT_MAX = 10**15
# genai-prices counts these in ways of its own: one per call, or seconds rounded up.
UNUSUAL = frozenset(("requests", "audio_seconds", "input_audio_seconds"))

Counts = dict[str, int]
# A price, the units it is for, the count it multiplies, the priced parts to take off that count.
Term = tuple["Decimal | TieredPrices", int, str, tuple[str, ...]]


class PricedShapes:
    """The steps learned so far. ``total`` answers None until ``learn`` was told a shape."""

    def __init__(self) -> None:
        # The prices are kept beside their steps, so that their id stays theirs.
        self._steps: dict[tuple[object, ...], tuple[ModelPrice, list[Term]]] = {}

    def total(self, prices: ModelPrice, counts: Counts) -> Decimal | None:
        """US dollars for the counts; None when genai-prices has to be asked."""
        known = self._steps.get(_shape(prices, counts))
        if known is None:
            return None
        left: Counts = {}
        total = Decimal(0)
        for price, per, name, parts in known[1]:
            count = counts.get(name, 0)
            for part in parts:
                count -= left[part]
            if not 0 <= count <= COUNT_MAX:
                return None
            left[name] = count
            if not isinstance(price, Decimal):
                price = _tier(price, counts.get("input_tokens", 0))
            total += price * count / per
        return total

    def learn(self, prices: ModelPrice, counts: Counts) -> None:
        """genai-prices could price these counts: remember how."""
        steps = _terms(prices)
        if steps is None or not UNUSUAL.isdisjoint(counts):
            return
        if len(self._steps) >= SHAPES_MAX:
            self._steps.clear()
        self._steps[_shape(prices, counts)] = (prices, steps)


def counts_of(extractor: UsageExtractor, usage: Mapping[str, Any]) -> Counts | None:
    """What ``extractor`` reads from a provider's usage object; None: let it do it itself."""
    counts: Counts = {}
    for mapping in extractor.mappings:
        value = _at(usage, mapping.path)
        if type(value) is int and value >= 0:
            counts[mapping.dest] = counts.get(mapping.dest, 0) + value
        elif value is not None or mapping.required:
            return None
    return counts or None


def _at(value: Any, path: str | Sequence[Any]) -> Any:
    for step in (path,) if isinstance(path, str) else path:
        if isinstance(step, str):
            value = value.get(step) if type(value) is dict else None
        else:  # the element of a list that matches
            value = step.extract(value) if type(value) is list else None
        if value is None:
            return None
    return value


def _shape(prices: ModelPrice, counts: Counts) -> tuple[object, ...]:
    return (id(prices), *counts, *map(bool, counts.values()))


def _tier(price: TieredPrices, input_tokens: int) -> Decimal:
    """The highest tier that begins below the number of input tokens."""
    for tier in reversed(price.tiers):
        if input_tokens > tier.start:
            return tier.price
    return price.base


def _terms(prices: ModelPrice) -> list[Term] | None:
    """The steps for these prices, most special counts first; None when they are unusual."""
    from genai_prices.data_units import unit_data

    units = {unit.get("price_key", name): (name, unit) for name, unit in unit_data.items()}
    priced = {name: price for name, price in prices.__dict__.items() if price is not None}
    if not priced.keys() <= units.keys():
        return None
    wanted = sorted(
        ((*units[key], price) for key, price in priced.items()),
        key=lambda one: (-len(one[1]["dimensions"]), one[0]),
    )
    terms: list[Term] = []
    for number, (name, unit, price) in enumerate(wanted):
        per = unit["per"]
        if name in UNUSUAL or str(per).strip("0") != "1":  # other quotients may be rounded
            return None
        whole = unit["dimensions"].items()
        parts = [part for part, other, _ in wanted[:number] if whole <= other["dimensions"].items()]
        terms.append((price, per, name, tuple(parts)))
    return terms
