"""Hands each Record to everything that keeps one: audit, metrics, telemetry, inventory.

A sink that fails never touches the call or the other sinks: it is counted, and the kind
of failure (never its text) is kept for the status page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from penstock.detect.hindsight.second_look import Late
from penstock.record.clean import clean
from penstock.record.record import Record
from penstock.record.search import Scan, Search


class Sink(Protocol):
    """Something that keeps Records. ``record`` runs on the event loop and must be quick."""

    name: str

    def record(self, record: Record) -> None:
        """Keep one Record."""

    def flush(self) -> None:
        """Bring to disk or to the collector what is due. Runs in a thread, about once a second."""

    def close(self) -> None:
        """Flush everything; nothing is recorded after it. May take as long as its own deadline."""


@runtime_checkable
class HearsLate(Protocol):
    """A sink that keeps what was found after the Record was made."""

    def late(self, found: Late) -> None:
        """Keep one. Runs in a thread beside ``record``."""


class Recorder:
    """One per process. ``failures`` counts by sink name, ``failure`` keeps the last kind."""

    def __init__(self, sinks: list[Sink], scan: Scan | None = None) -> None:
        """``scan`` finds secrets in a text (``Detectors(["secret"]).scan``)."""
        self._sinks = sinks
        self._search = Search(scan) if scan else None
        self.failures: Counter[str] = Counter()
        self.failure: dict[str, str] = {}

    def record(self, record: Record) -> None:
        """Clean the Record and give it to every sink. Never raises."""
        try:
            kept = clean(record, self._search)
        except Exception as error:  # noqa: BLE001  a Record that cannot be cleaned is not kept
            self._failed("clean", error)
            return
        for sink in self._sinks:
            self._guarded(sink.name, sink.record, kept)

    def late(self, found: Late) -> None:
        """Give what was found after its call to those that keep it. Any thread; never raises."""
        for sink in self._sinks:
            if isinstance(sink, HearsLate):
                self._guarded(sink.name, sink.late, found)

    def forget(self) -> None:
        """What ``scan`` finds has changed: search every string anew."""
        if self._search:
            self._search.forget()

    def flush(self) -> None:
        """Let every sink do its slow work. Call it from a thread, about once a second."""
        for sink in self._sinks:
            self._guarded(sink.name, sink.flush)

    def close(self) -> None:
        """Close every sink, at the end of a drain."""
        for sink in self._sinks:
            self._guarded(sink.name, sink.close)

    def _guarded[*Arguments](
        self, name: str, act: Callable[[*Arguments], None], *arguments: *Arguments
    ) -> None:
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001  recording must not take a call down
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self.failures[name] += 1
        self.failure[name] = type(error).__name__
