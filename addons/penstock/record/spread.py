"""A histogram that costs little to grow and looks like any other when it is asked for.

prometheus_client's own takes a lock per bucket sum and looks through the buckets one by one;
six of them are grown on every call. This one is grown by one thread, the event loop's; a
reader in another sees a call half counted at worst.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Child:
    """The observations under one combination of labels."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value in the first bucket it does not exceed."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Spread(Collector):
    """A histogram with labels, registered with ``registry``."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(float(bound) for bound in buckets)
        self._names = [*map(floatToGoString, self._bounds), "+Inf"]
        self._children: dict[tuple[str, ...], Child] = {}
        registry.register(self)

    def labels(self, *values: str) -> Child:
        """The child for these values of the labels, in their order; made when it is new."""
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has {len(self._labels)} labels")
        return self._children.setdefault(tuple(map(str, values)), Child(self._bounds))

    def collect(self) -> Iterator[Metric]:
        """The metric, for the registry."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, child in list(self._children.items()):
            sums = accumulate(child.counts)
            family.add_metric(values, list(zip(self._names, sums, strict=True)), child.total)
        yield family
