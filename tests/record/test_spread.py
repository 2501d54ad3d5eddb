"""Our histogram against prometheus_client's: the same text for the same observations."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from penstock.record.spread import Spread

BUCKETS = (0.1, 1, 5, 30)
# Below, on and above bounds, and far above the last.
VALUES = (0.0, 0.1, 0.100001, 1, 4.5, 30, 31, 1e9)


def test_it_says_what_the_library_says():
    ours, theirs = CollectorRegistry(auto_describe=True), CollectorRegistry(auto_describe=True)
    spread = Spread("a_seconds", "Some text.", ("one", "other"), BUCKETS, ours)
    histogram = Histogram(
        "a_seconds", "Some text.", ("one", "other"), buckets=BUCKETS, registry=theirs
    )
    for number, value in enumerate(VALUES):
        labels = ("x", 'y"\n') if number % 2 else ("x", None)
        spread.labels(*labels).observe(value)
        histogram.labels(*labels).observe(value)
    text = generate_latest(ours).decode()
    assert text == without_created(generate_latest(theirs).decode())
    assert 'a_seconds_bucket{le="+Inf",one="x",other="None"} 4.0' in text


def test_a_wrong_number_of_labels_is_an_error():
    spread = Spread("a_seconds", "Some text.", ("one",), BUCKETS, CollectorRegistry())
    with pytest.raises(ValueError, match="1 labels"):
        spread.labels("x", "y")


def test_a_name_is_registered_once():
    registry = CollectorRegistry(auto_describe=True)
    Spread("a_seconds", "Some text.", ("one",), BUCKETS, registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Spread("a_seconds", "Some text.", ("one",), BUCKETS, registry)


def without_created(text: str) -> str:
    """Without the creation times, which the metrics switch off."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if "a_seconds_created" not in line)
