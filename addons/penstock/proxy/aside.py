"""Work of one exchange that takes too long for the loop, while its layer waits.

A hook of our own: the layer is paused as by any hook that awaits something, and what else
comes over its connection keeps its order behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mitmproxy.proxy import commands, layer


@dataclass(slots=True)
class Work[Outcome]:
    """``outcome`` is there when the hook has run; None where it could not."""

    run: Callable[[], Outcome]
    outcome: Outcome | None = None


@dataclass
class WorkAsideHook(commands.StartHook):
    """Asks for ``work`` to be done in a worker thread."""

    work: Work[Any]


def goes_aside(transform: object) -> bool:
    """True for a stream transform that asks slow detectors: it is fed in a worker."""
    return bool(getattr(transform, "aside", False))


def worked[Outcome](
    transform: object, run: Callable[[], Outcome]
) -> layer.CommandGenerator[Outcome | None]:
    """Run the transform's work: here, or in a worker where it asks slow detectors."""
    if not goes_aside(transform):
        return run()
    work = Work(run)
    yield WorkAsideHook(work)
    return work.outcome
