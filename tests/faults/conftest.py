"""The proxies that most fault tests share: one that enforces, one that observes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.world import OBSERVE, World, completion, world


@pytest.fixture(scope="package")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("enforcing")) as made:
        yield made


@pytest.fixture(scope="package")
def observing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("observing"), OBSERVE) as made:
        yield made


@pytest.fixture
def here(enforcing: World) -> World:
    """The enforcing world, its upstream answering as if nothing had happened before."""
    return fresh(enforcing)


@pytest.fixture
def watched(observing: World) -> World:
    """The same in observe mode."""
    return fresh(observing)


def fresh(made: World) -> World:
    made.upstream.script = completion()
    made.upstream.requests.clear()
    return made
