"""Stand-ins for what must not leave, and the way back.

``Vault.seal`` turns a found value into ``PLACEHOLDER_EMAIL_9F2KQ7XM4T3VW``: identifier
characters only, so it survives JSON, URLs, shells and HTML. The same value gives the same
placeholder for one key and caller, over turns and processes, so provider prompt caches
still hit. ``restore`` puts originals back by exact match only: a placeholder that was
altered in case, spacing or length stays as it is.

The map lives in memory, one per caller, bounded in entries, bytes and age. It is never
written, never shared between callers, and never part of a repr or a pickle.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from penstock.wire.channel_text import Replacement, ScanStep

PREFIX = "PLACEHOLDER_"
# Crockford base32: no I, L, O, U, so a placeholder is hard to misread.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ALPHABET_SET = frozenset(ALPHABET)
# 13 characters carry 65 bits: two of a caller's values never meet in practice.
DIGEST_LENGTH = 13
# Longest kind in a placeholder; dotted types are short, custom ones are cut.
KIND_LENGTH_MAX = 40
# A long agent session seals some hundred values; beyond this the oldest go first.
ENTRIES_PER_CALLER_MAX = 4096
# Values are tokens and identifiers; a private key is 3 KB. 4 MiB per caller is generous.
BYTES_PER_CALLER_MAX = 4 * 1024 * 1024
# One sidecar serves few callers; a laptop has one per process.
CALLERS_MAX = 256
# A conversation untouched for a day is over; its values need not stay in memory.
AGE_SECONDS_MAX = 24 * 3600.0


def kind_of(type_name: str) -> str:
    """The word inside the placeholder: ``pii.email`` -> EMAIL, ``secret.jwt`` -> JWT."""
    tail = type_name.split(".", 1)[-1]
    word = "".join(c if c.isascii() and c.isalnum() else "_" for c in tail.upper())
    return word[:KIND_LENGTH_MAX].strip("_") or "VALUE"


@dataclass(slots=True, repr=False)
class _CallerMap:
    """One caller's placeholders, least recently used first."""

    entries: OrderedDict[str, tuple[str, float]] = field(default_factory=OrderedDict)
    heads: dict[str, int] = field(default_factory=dict)  # "PLACEHOLDER_EMAIL_" -> entries
    size_bytes: int = 0

    def put(self, placeholder: str, value: str, now: float) -> None:
        if placeholder in self.entries:
            self.drop(placeholder)
        self.entries[placeholder] = (value, now)
        head = placeholder[:-DIGEST_LENGTH]
        self.heads[head] = self.heads.get(head, 0) + 1
        self.size_bytes += len(placeholder) + 4 * len(value)
        while len(self.entries) > 1 and (
            len(self.entries) > ENTRIES_PER_CALLER_MAX or self.size_bytes > BYTES_PER_CALLER_MAX
        ):
            self.drop(next(iter(self.entries)))

    def drop(self, placeholder: str) -> None:
        value, _ = self.entries.pop(placeholder)
        self.size_bytes -= len(placeholder) + 4 * len(value)
        head = placeholder[:-DIGEST_LENGTH]
        self.heads[head] -= 1
        if not self.heads[head]:
            del self.heads[head]

    def expire(self, now: float) -> None:
        while self.entries:
            oldest = next(iter(self.entries))
            if now - self.entries[oldest][1] <= AGE_SECONDS_MAX:
                return
            self.drop(oldest)


class Vault:
    """Placeholders and their originals, per caller, in memory only. Thread-safe."""

    __slots__ = ("_callers", "_clock", "_key", "_lock")

    def __init__(self, key: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        if len(key) < 16:
            raise ValueError("a placeholder key needs at least 16 bytes")
        self._key = key
        self._clock = clock
        self._callers: OrderedDict[str, _CallerMap] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Vault callers={len(self._callers)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Vault is never serialised: it holds original values")

    def seal(self, type_name: str, value: str, caller_key: str) -> str:
        """The placeholder of ``value`` for this caller; remembers the way back."""
        placeholder = self._name(type_name, value, caller_key)
        now = self._clock()
        with self._lock:
            self._map(caller_key, now).put(placeholder, value, now)
        return placeholder

    def restore(self, text: str, caller_key: str) -> tuple[str, int]:
        """``text`` with this caller's exact placeholders put back, and how many there were."""
        if PREFIX not in text:
            return text, 0
        pieces: list[str] = []
        position = 0
        found = self.find(text, caller_key)
        for start, end, value in found:
            pieces += (text[position:start], value)
            position = end
        pieces.append(text[position:])
        return "".join(pieces), len(found)

    def find(self, text: str, caller_key: str, start: int = 0) -> list[tuple[int, int, str]]:
        """Where this caller's placeholders stand: (start, end, original), in order."""
        found: list[tuple[int, int, str]] = []
        at = text.find(PREFIX, start)
        if at < 0:
            return found
        now = self._clock()
        with self._lock:
            known = self._callers.get(caller_key)
            if known is None:
                return found
            known.expire(now)
            while at >= 0:
                placeholder = _known_at(text, at, known)
                if placeholder is None:
                    at = text.find(PREFIX, at + 1)
                    continue
                value = known.entries[placeholder][0]
                known.entries[placeholder] = (value, now)
                known.entries.move_to_end(placeholder)
                found.append((at, at + len(placeholder), value))
                at = text.find(PREFIX, at + len(placeholder))
        return found

    def restorer(self, caller_key: str, nested: bool = False) -> Restorer:
        """A scanner that restores this caller's placeholders in a streamed text.

        ``nested`` is accepted for symmetry with the channel: the replacement is always the
        plain original, and the stream editor escapes it for JSON inside JSON.
        """
        del nested
        return Restorer(self, caller_key)

    def holds(self, caller_key: str) -> bool:
        """True when something of this caller could be restored."""
        with self._lock:
            known = self._callers.get(caller_key)
            return known is not None and bool(known.entries)

    def live_from(self, text: str, caller_key: str, start: int) -> int:
        """The first index from ``start`` where a known placeholder may still be growing."""
        with self._lock:
            known = self._callers.get(caller_key)
            heads = list(known.heads) if known is not None else []
        longest = max((len(head) for head in heads), default=0) + DIGEST_LENGTH
        at = text.find("P", max(start, len(text) - longest + 1))
        while at >= 0:
            if any(_growing(text, at, head) for head in heads):
                return at
            at = text.find("P", at + 1)
        return len(text)

    def _map(self, caller_key: str, now: float) -> _CallerMap:
        known = self._callers.pop(caller_key, None) or _CallerMap()
        self._callers[caller_key] = known
        while len(self._callers) > CALLERS_MAX:
            self._callers.popitem(last=False)
        known.expire(now)
        return known

    def _name(self, type_name: str, value: str, caller_key: str) -> str:
        kind = kind_of(type_name)
        message = "\0".join((caller_key, kind, value)).encode("utf-8", "surrogatepass")
        number = int.from_bytes(hmac.digest(self._key, message, hashlib.sha256)[:9])
        digits = [ALPHABET[number >> (5 * place) & 31] for place in range(DIGEST_LENGTH)]
        return f"{PREFIX}{kind}_{''.join(digits)}"


class Restorer:
    """Restores placeholders in one growing text; holds back only what may become one."""

    __slots__ = ("_caller_key", "_offset", "_text", "_vault")

    def __init__(self, vault: Vault, caller_key: str) -> None:
        self._vault = vault
        self._caller_key = caller_key
        self._text = ""  # the held tail
        self._offset = 0  # absolute offset of its first character

    def feed(self, text: str) -> ScanStep:
        """Take the next piece; say what is replaced and up to where text may leave."""
        if not self._text and "P" not in text:
            self._offset += len(text)
            return ScanStep([], self._offset)
        self._text += text
        replacements, done = self._replacements()
        keep = self._vault.live_from(self._text, self._caller_key, done)
        self._text = self._text[keep:]
        self._offset += keep
        return ScanStep(replacements, self._offset)

    def finish(self) -> ScanStep:
        """No more text comes: everything held may leave."""
        replacements, _ = self._replacements()
        self._offset += len(self._text)
        self._text = ""
        return ScanStep(replacements, self._offset)

    def _replacements(self) -> tuple[list[Replacement], int]:
        found = self._vault.find(self._text, self._caller_key)
        base = self._offset
        return (
            [Replacement(base + start, base + end, value) for start, end, value in found],
            found[-1][1] if found else 0,
        )


def _known_at(text: str, at: int, known: _CallerMap) -> str | None:
    """The known placeholder that stands exactly at ``at``."""
    for head in known.heads:
        if text.startswith(head, at):
            candidate = text[at : at + len(head) + DIGEST_LENGTH]
            if candidate in known.entries:
                return candidate
    return None


def _growing(text: str, at: int, head: str) -> bool:
    """True when ``text[at:]`` is a proper beginning of a placeholder with this head."""
    tail = text[at:]
    if len(tail) <= len(head):
        return head.startswith(tail)
    return (
        tail.startswith(head)
        and len(tail) < len(head) + DIGEST_LENGTH
        and _ALPHABET_SET.issuperset(tail[len(head) :])
    )
