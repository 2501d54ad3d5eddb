"""What was said in a conversation, as keyed hashes: enough to know a value when it comes again.

A secret counts wherever it stood. Personal data count unless the user wrote them: what a
user gives away is the user's to use. Values are compared by their letters and digits, so a
card number with other spaces is the same. The memory is per caller, bounded in values and
age, and holds no value that could be read out of it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from penstock.exchange import Zone

# Values of one caller; a long agent session meets some hundred. The oldest go first.
VALUES_PER_CALLER_MAX = 4096
# As the placeholders of a caller: one sidecar serves few.
CALLERS_MAX = 256
AGE_SECONDS_MAX = 24 * 3600.0
DIGEST_BYTES = 12
# Fewer letters and digits are no value that could be told from any other.
CHARACTERS_MIN = 4


class Conversations:
    """Values each caller's conversations hold. Thread-safe."""

    __slots__ = ("_callers", "_clock", "_key", "_lock")

    def __init__(self, key: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key[:64]
        self._clock = clock
        self._callers: OrderedDict[str, OrderedDict[bytes, tuple[bool, float]]] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Conversations callers={len(self._callers)}>"

    def learn(self, caller_key: str, type_name: str, value: str, zone: Zone) -> None:
        """Remember that ``value`` was said in ``zone``."""
        digest = self._digest(value)
        if digest is None:
            return
        given = zone == "user" and not type_name.startswith("secret")
        now = self._clock()
        with self._lock:
            known = self._callers.setdefault(caller_key, OrderedDict())
            self._callers.move_to_end(caller_key)
            given = given or known.get(digest, (False, now))[0]
            known[digest] = (given, now)
            known.move_to_end(digest)
            while len(known) > VALUES_PER_CALLER_MAX:
                known.popitem(last=False)
            while len(self._callers) > CALLERS_MAX:
                self._callers.popitem(last=False)

    def knows(self, caller_key: str, value: str) -> bool:
        """True when this caller's conversation has the value from elsewhere."""
        digest = self._digest(value)
        with self._lock:
            known = self._callers.get(caller_key)
            if known is None or digest is None:
                return False
            while known and self._clock() - next(iter(known.values()))[1] > AGE_SECONDS_MAX:
                known.popitem(last=False)
            return digest in known and not known[digest][0]

    def _digest(self, value: str) -> bytes | None:
        plain = "".join(char for char in value.casefold() if char.isalnum())
        if len(plain) < CHARACTERS_MIN:
            return None
        return blake2b(plain.encode(), digest_size=DIGEST_BYTES, key=self._key).digest()
