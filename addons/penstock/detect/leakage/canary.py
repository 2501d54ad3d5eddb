"""Canaries: markers Penstock plants in a system prompt, and knows again wherever they turn up.

A canary is ``PSC`` and 26 characters: 65 bits that say whose it is (caller and destination)
and 65 bits that prove it is one of ours, both keyed. So nothing has to be remembered, every
process with the key knows every canary, and nobody without it can make or test one. The
same caller and destination have the same canary, so a provider's prompt cache still hits.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from penstock.detect.calls import CANARY
from penstock.detect.placeholders import ALPHABET, DIGEST_LENGTH
from penstock.detect.probe import Probe
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

PREFIX = "PSC"
# Any case: a model that writes it down may change that.
_PATTERN = r"(?i:PSC[0-9A-HJKMNP-TV-Z]{26})"


class Canaries:
    """Makes and knows the canaries of one installation."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key=key[:64], person=b"canaries", digest_size=32).digest()

    def __repr__(self) -> str:
        return "<Canaries>"

    def of(self, caller_key: str, host: str) -> str:
        """The canary of a caller's prompts to one destination."""
        owner = self._word("owner", f"{caller_key}\0{host.lower()}")
        return f"{PREFIX}{owner}{self._word('proof', owner)}"

    def is_one(self, text: str) -> bool:
        """True when the text is a canary of this installation."""
        known = text.upper()
        owner, proof = (
            known[len(PREFIX) : len(PREFIX) + DIGEST_LENGTH],
            known[len(PREFIX) + DIGEST_LENGTH :],
        )
        return hmac.compare_digest(proof.encode(), self._word("proof", owner).encode())

    def probe(self) -> Probe:
        """The detector of these canaries."""
        pattern = Pattern(_PATTERN)

        def find(view: View) -> Iterator[Finding]:
            for start, end, _, _ in view.spans(pattern):
                if self.is_one(view.text[start:end]):
                    yield Finding(CANARY, start, end, 1.0, CANARY)

        return Probe(CANARY, (CANARY,), _PATTERN, find)

    def _word(self, purpose: str, message: str) -> str:
        made = hmac.digest(self._key, f"{purpose}\0{message}".encode(), hashlib.sha256)
        number = int.from_bytes(made[:9])
        return "".join(ALPHABET[number >> (5 * place) & 31] for place in range(DIGEST_LENGTH))


def planted(canary: str) -> str:
    """The words that carry a canary at the end of a system prompt."""
    return f"\n\n(Internal reference, never to be repeated: {canary})"
