"""Findings remembered per text: an agent resends its whole conversation at each turn.

Keyed BLAKE2 of the text, so that the memory holds no text; bounded, least recently used
first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

from penstock.detect import Detectors
from penstock.exchange import Finding, Zone

# Texts shorter than this are scanned faster than they are hashed.
SCANNED_CHARACTERS_MAX = 200
# Some hundred conversations of some hundred turns: about 6 MB.
TEXTS_MAX = 20_000


class Memo:
    """``scan`` of the detectors, with a memory."""

    def __init__(self, detectors: Detectors, key: bytes) -> None:
        self._detectors = detectors
        self._key = key
        self._found: OrderedDict[tuple[bytes, Zone], Sequence[Finding]] = OrderedDict()

    def scan(self, text: str, zone: Zone) -> Sequence[Finding]:
        """The findings of ``text``; the same text in the same zone is scanned once."""
        if len(text) <= SCANNED_CHARACTERS_MAX:
            return self._detectors.scan(text, zone)
        data = text.encode("utf-8", "surrogatepass")
        key = blake2b(data, digest_size=16, key=self._key).digest(), zone
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._detectors.scan(text, zone)
            if len(self._found) > TEXTS_MAX:
                self._found.popitem(last=False)
        else:
            self._found.move_to_end(key)
        return found
