"""Values that were found to be secrets after they had left: known the next time they turn up.

Of each value a keyed hash is kept, and where to look for it: its length and its first three
characters, which is what records may show of it as well. Bounded in number and age; shared by
all callers of one process, as what a text holds does not depend on who sends it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from hashlib import blake2b

import re2

from penstock.detect.calls import CANDIDATE
from penstock.detect.probe import Probe
from penstock.detect.view import View
from penstock.exchange import Finding

VALUES_MAX = 4096
AGE_SECONDS_MAX = 24 * 3600.0
# Shorter values are words as well.
CHARACTERS_MIN = 8
# A beginning that is common in a text: so many places are looked at, then no more.
LOOKS_MAX = 2000
BEGINNING_CHARACTERS = 3
DIGEST_BYTES = 12
# Of a form, with a vendor's or a label's word for it.
SCORE = 0.6

Place = tuple[str, int]  # first characters, length


class Remembered:
    """Keyed hashes of values, and the detector that finds them. Thread-safe."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key[:64]
        self._clock = clock
        self._values: OrderedDict[bytes, tuple[Place, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._shown: tuple[re2._Regexp, dict[str, set[int]], frozenset[bytes]] | None = None

    def __repr__(self) -> str:
        return f"<Remembered values={len(self._values)}>"

    def __len__(self) -> int:
        return len(self._values)

    def learn(self, value: str) -> bool:
        """Remember a value; True when that changes what will be found."""
        if not self.can_hold(value):
            return False
        digest, now = self._digest(value), self._clock()
        with self._lock:
            known = digest in self._values
            self._values[digest] = (value[:BEGINNING_CHARACTERS], len(value)), now
            self._values.move_to_end(digest)
            while len(self._values) > VALUES_MAX:
                self._values.popitem(last=False)
            if not known:
                self._show()
        return not known

    def can_hold(self, value: str) -> bool:
        """False for what is too short to be told from other words."""
        return len(value) >= CHARACTERS_MIN

    def expire(self) -> None:
        """Forget what is too old."""
        oldest = self._clock() - AGE_SECONDS_MAX
        with self._lock:
            before = len(self._values)
            while self._values and next(iter(self._values.values()))[1] < oldest:
                self._values.popitem(last=False)
            if len(self._values) < before:
                self._show()

    def probe(self) -> Probe:
        """The detector. It holds nothing back in a stream: it is for what is sent."""
        return Probe(CANDIDATE, (CANDIDATE,), "", self._find, "always", live="")

    def _show(self) -> None:
        lengths: defaultdict[str, set[int]] = defaultdict(set)
        for (beginning, length), _ in self._values.values():
            lengths[beginning].add(length)
        if not lengths:
            self._shown = None
            return
        beginnings = "|".join(re2.escape(one) for one in sorted(lengths))
        self._shown = re2.compile(beginnings.encode()), dict(lengths), frozenset(self._values)

    def _find(self, view: View) -> Iterator[Finding]:
        if self._shown is None:
            return
        beginnings, lengths, values = self._shown
        for count, match in enumerate(beginnings.finditer(view.data)):
            if count >= LOOKS_MAX:
                return
            start = match.start() if view.ascii else view.index(match.start())
            for length in lengths[view.text[start : start + BEGINNING_CHARACTERS]]:
                end = start + length
                if end <= len(view.text) and self._digest(view.text[start:end]) in values:
                    yield Finding(CANDIDATE, start, end, SCORE, CANDIDATE)

    def _digest(self, value: str) -> bytes:
        data = value.encode("utf-8", "surrogatepass")
        return blake2b(data, digest_size=DIGEST_BYTES, key=self._key, person=b"remembered").digest()
