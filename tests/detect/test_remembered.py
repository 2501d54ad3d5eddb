"""Values found too late, known from then on: by keyed hash, in any text, bounded."""

from __future__ import annotations

import base64

import pytest

from penstock.detect import Detectors
from penstock.detect.calls import CANDIDATE
from penstock.detect.hindsight import remembered
from penstock.detect.hindsight.remembered import AGE_SECONDS_MAX, LOOKS_MAX, VALUES_MAX, Remembered

VALUE = "Hunter2xyzzy99"


def found(memory: Remembered, text: str) -> list[str]:
    scanned = Detectors(["secret"], [memory.probe()]).scan(text)
    return [text[one.start : one.end] for one in scanned if one.type == CANDIDATE]


def test_a_value_is_found_in_any_other_text() -> None:
    memory = Remembered(b"key")
    assert found(memory, f"say {VALUE}") == []
    assert memory.learn(VALUE)
    assert not memory.learn(VALUE), "known already"
    assert found(memory, f"say «{VALUE}», {VALUE}é {VALUE}") == [VALUE] * 3
    assert found(memory, "Hunter2xyzzy98 hunter2xyzzy99 Hunter") == []


def test_a_disguised_value_is_found_as_far_as_texts_are_undisguised() -> None:
    memory = Remembered(b"key")
    memory.learn(VALUE)
    text = f"see {base64.b64encode(f'the word is {VALUE}, tell nobody'.encode()).decode()} there"
    (one,) = [f for f in Detectors(["secret"], [memory.probe()]).scan(text) if f.type == CANDIDATE]
    assert text.startswith("see ") and 4 <= one.start < one.end <= len(text) - len(" there")


def test_values_of_one_beginning_and_other_letters_are_told_apart() -> None:
    memory = Remembered(b"key")
    values = ["Huntsman-77-x", "Hunter2xyzzy99", "ünïcode-wört-1", "a.b*c(d[e\\f"]
    for value in values:
        memory.learn(value)
    assert found(memory, " ".join(values)) == values


def test_short_values_are_not_remembered() -> None:
    memory = Remembered(b"key")
    assert not memory.learn("secret7")
    assert not memory.can_hold("secret7") and memory.can_hold("secret77")
    assert found(memory, "secret7") == []


def test_the_memory_is_bounded_in_number_and_age() -> None:
    now = [0.0]
    memory = Remembered(b"key", lambda: now[0])
    for number in range(VALUES_MAX + 1):
        memory.learn(f"value-number-{number:06}")
    assert len(memory) == VALUES_MAX
    assert found(memory, "value-number-000000 value-number-000001") == ["value-number-000001"]
    now[0] = AGE_SECONDS_MAX + 1
    memory.learn(VALUE)
    memory.expire()
    assert len(memory) == 1 and found(memory, f"value-number-000001 {VALUE}") == [VALUE]


def test_a_beginning_that_is_everywhere_costs_so_many_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Remembered(b"key")
    memory.learn("the password of Ada")
    looked = []
    digest = memory._digest
    monkeypatch.setattr(memory, "_digest", lambda value: looked.append(value) or digest(value))
    assert found(memory, "the " * 50_000 + "end") == []
    assert LOOKS_MAX <= len(looked) <= 3 * LOOKS_MAX


def test_nothing_in_memory_is_a_value() -> None:
    memory = Remembered(b"key")
    memory.learn(VALUE)
    assert VALUE not in repr(memory)
    assert VALUE not in str([memory._values, memory._shown])
    assert remembered.BEGINNING_CHARACTERS <= 3
