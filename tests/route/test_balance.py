"""The order of targets: weights, priorities, regions, load; and that nothing else matters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from penstock.route.balance import Balance, order
from penstock.route.health import FAILURES, Board


@dataclass(frozen=True)
class One:
    name: str
    weight: int = 1
    priority: int = 1
    region: str | None = None
    model: str = "m"


def first(candidates: list[One], key: str, board: Board | None = None, **more: object) -> str:
    balance: Balance = more.pop("balance", "weighted")  # type: ignore[assignment] # a word
    region = more.pop("region", None)
    assert region is None or isinstance(region, str)
    return order(candidates, board or Board(), 0.0, balance=balance, key=key, region=region)[0].name


def test_weights_are_shares() -> None:
    """Three to one over many calls."""
    counted = Counter(first([One("a", 3), One("b", 1)], f"call-{n}") for n in range(4000))
    assert 0.72 < counted["a"] / 4000 < 0.78


def test_a_conversation_stays() -> None:
    """The same key leads to the same target, and to the same second one."""
    ones = [One(name) for name in "abcde"]
    ordered = order(ones, Board(), 0.0, key="conversation")
    assert order(list(reversed(ones)), Board(), 99.0, key="conversation") == ordered


def test_a_target_that_goes_moves_only_its_own() -> None:
    """Rendezvous hashing: conversations of the others stay where their caches are."""
    ones = [One(name) for name in "abcd"]
    for number in range(300):
        key = f"c{number}"
        before = first(ones, key)
        after = first([one for one in ones if one.name != "d"], key)
        assert before == after or before == "d"


def test_priority_region_and_balance_count_in_this_order() -> None:
    """A lower priority wins over the region, the region over the load."""
    board = Board()
    for _ in range(5):
        board.begin("near", 0)
    ones = [One("far"), One("near", region="eu"), One("spare", priority=2, region="eu")]
    assert first(ones, "k", board, region="eu", balance="least_outstanding") == "near"
    assert first(ones, "k", board, balance="least_outstanding") == "far"
    ordered = order(ones, board, 0.0, key="k", region="eu")
    assert [one.name for one in ordered] == ["near", "far", "spare"]


def test_least_outstanding_and_latency() -> None:
    """The idle one, the fast one; a target nobody measured yet is tried."""
    board = Board()
    for name, seconds, calls in (("a", 0.1, 3), ("b", 0.9, 1)):
        for _ in range(calls):
            board.begin(name, 0)
        board.answered(name, 0, "well", seconds)
    ones = [One("a"), One("b")]
    assert first(ones, "k", board, balance="least_outstanding") == "b"
    assert first(ones, "k", board, balance="lowest_latency") == "a"
    assert first([*ones, One("new")], "k", board, balance="lowest_latency") == "new"


def test_when_all_are_out_the_soonest_is_asked() -> None:
    """Health never refuses a call."""
    board = Board()
    for name, at in (("a", 0.0), ("b", 3.0)):
        for _ in range(FAILURES):
            board.begin(name, at)
            board.answered(name, at, "failed")
    assert order([One("b"), One("a")], board, 3.0, key="k")[0].name == "a"


@given(
    st.lists(
        st.builds(
            One,
            name=st.text("abcdef", min_size=1, max_size=3),
            weight=st.integers(1, 10**12),
            priority=st.integers(1, 5),
            region=st.sampled_from([None, "eu", "us"]),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda one: one.name,
    ),
    st.text(max_size=20),
    st.sampled_from(["weighted", "least_outstanding", "lowest_latency"]),
)
def test_every_target_stands_in_the_order_once(ones: list[One], key: str, how: Balance) -> None:
    """Nobody is lost or doubled, priorities never mix, and the given order does not matter."""
    ordered = order(ones, Board(), 0.0, balance=how, key=key)
    assert sorted(one.name for one in ordered) == sorted(one.name for one in ones)
    assert [one.priority for one in ordered] == sorted(one.priority for one in ones)
    assert order(list(reversed(ones)), Board(), 0.0, balance=how, key=key) == ordered
