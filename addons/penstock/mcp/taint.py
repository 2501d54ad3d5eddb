"""What came to a caller from tools: whether it may be hostile, and values that must stay.

Tainted is who was given content by a tool a rule calls untrusted: what a model does next may be
what that content told it. Confined are values found in results of a server they may not leave;
only keyed hashes of them are kept, so a value is known when it comes again and cannot be read
out. Bounded in callers, values and age, per process. Whoever is not known here is untainted:
after a restart, and where the result passed another process.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# An agent's turn with what it read lasts minutes; a conversation that rests for an hour is over.
TAINT_SECONDS = 3600.0
CALLERS_MAX = 10_000
# A value may leave by another call of the same day.
VALUE_SECONDS = 86_400.0
VALUES_MAX = 50_000
# Servers remembered of one value: it is confined all the same by those.
SERVERS_MAX = 8


class Taints:
    """One per process, thread-safe. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tainted: OrderedDict[str, float] = OrderedDict()
        self._values: OrderedDict[tuple[str, str], tuple[tuple[str, ...], float]] = OrderedDict()
        self._holders: OrderedDict[str, float] = OrderedDict()  # callers some value is known of

    def taint(self, caller: str) -> None:
        """The caller was given content that may be hostile."""
        with self._lock:
            _note(self._tainted, caller, self._clock() + TAINT_SECONDS)

    def is_tainted(self, caller: str) -> bool:
        """True for an hour after the last such content."""
        return self._tainted.get(caller, 0.0) > self._clock()

    def confine(self, caller: str, digest: str, server: str) -> None:
        """The caller was given a value by ``server`` that may not go elsewhere."""
        key, until = (caller, digest), self._clock() + VALUE_SECONDS
        with self._lock:
            servers, _ = self._values.get(key, ((), 0.0))
            if server not in servers:
                servers = (*servers, server)[-SERVERS_MAX:]
            self._values[key] = servers, until
            self._values.move_to_end(key)
            while len(self._values) > VALUES_MAX:
                self._values.popitem(last=False)
            _note(self._holders, caller, until)

    def holds(self, caller: str) -> bool:
        """False when no value of the caller's is confined: then nothing has to be looked for."""
        return self._holders.get(caller, 0.0) > self._clock()

    def confined(self, caller: str, digest: str) -> tuple[str, ...]:
        """The servers the caller has the value from."""
        servers, until = self._values.get((caller, digest), ((), 0.0))
        return servers if until > self._clock() else ()


def _note(known: OrderedDict[str, float], caller: str, until: float) -> None:
    known[caller] = until
    known.move_to_end(caller)
    while len(known) > CALLERS_MAX:
        known.popitem(last=False)
