"""Findings remembered per text, so that a resent conversation costs a hash per block.

Keys are keyed BLAKE2 hashes of the text, never the text; findings carry no text either. The
memory is bounded, least recently used first, and shared by all callers of one process:
what was found in a text does not depend on who sent it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from hashlib import blake2b
from typing import Protocol

from penstock.detect.view import utf8
from penstock.exchange import Finding, Zone

# A 200 KB agent conversation has some hundred blocks; this holds many of them at once.
ENTRIES_MAX = 16_384
# Findings kept over all entries (about 150 bytes each: 10 MB at the very most).
FINDINGS_MAX = 65_536
# Larger pieces known to hold nothing at all: tool definitions, 16 bytes each.
CLEAN_MAX = 65_536
DIGEST_BYTES = 16


class Scans(Protocol):
    """What the memo stands in front of."""

    def scan(self, text: str, zone: Zone = "user") -> list[Finding]:
        """The findings of one text."""

    def scan_all(self, texts: Collection[str], zone: Zone = "user") -> dict[str, list[Finding]]:
        """The findings of each text."""


class Memo:
    """Stands in front of detectors with the same ``scan``. Thread-safe."""

    __slots__ = (
        "_clean", "_detectors", "_entries", "_findings", "_key", "_lock", "hits", "misses",
    )  # fmt: skip

    def __init__(self, detectors: Scans, key: bytes) -> None:
        self._detectors = detectors
        self._key = key[:64]
        self._entries: OrderedDict[bytes, tuple[Finding, ...]] = OrderedDict()
        self._findings = 0
        self._clean: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def __repr__(self) -> str:
        return f"<Memo entries={len(self._entries)}>"

    def scan(self, text: str, zone: Zone = "user") -> list[Finding]:
        """The findings of ``text``: remembered, or found now. The list is the caller's own."""
        digest = self._digest(text, zone)
        known = self._known(digest)
        if known is not None:
            return known
        found = self._detectors.scan(text, zone)
        self._note(digest, found)
        return found

    def scan_all(self, texts: Collection[str], zone: Zone = "user") -> dict[str, list[Finding]]:
        """The findings of each text; those that are not known are looked at together."""
        digests = {text: self._digest(text, zone) for text in texts}
        found = {text: self._known(digest) for text, digest in digests.items()}
        fresh = self._detectors.scan_all([text for text in texts if found[text] is None], zone)
        for text, findings in fresh.items():
            self._note(digests[text], findings)
        return {text: fresh[text] if known is None else known for text, known in found.items()}

    def _digest(self, text: str, zone: Zone) -> bytes:
        return blake2b(
            utf8(text), digest_size=DIGEST_BYTES, key=self._key, person=zone.encode()[:16]
        ).digest()

    def _known(self, digest: bytes) -> list[Finding] | None:
        with self._lock:
            known = self._entries.get(digest)
            if known is None:
                return None
            self._entries.move_to_end(digest)
            self.hits += 1
            return list(known)

    def _note(self, digest: bytes, found: list[Finding]) -> None:
        with self._lock:
            self.misses += 1
            if digest not in self._entries and len(found) <= FINDINGS_MAX:
                self._entries[digest] = tuple(found)
                self._findings += len(found)
                self._shrink()

    def digest(self, data: bytes) -> bytes:
        """A keyed hash of a piece larger than one text, to remember it by."""
        return blake2b(data, digest_size=DIGEST_BYTES, key=self._key).digest()

    def is_clean(self, digest: bytes) -> bool:
        """True when nothing was found in any text of the piece."""
        return digest in self._clean

    def note_clean(self, digest: bytes) -> None:
        """Nothing is in any text of the piece."""
        with self._lock:
            self._clean[digest] = None
            while len(self._clean) > CLEAN_MAX:
                self._clean.popitem(last=False)

    def _shrink(self) -> None:
        while len(self._entries) > ENTRIES_MAX or self._findings > FINDINGS_MAX:
            _, dropped = self._entries.popitem(last=False)
            self._findings -= len(dropped)
