"""Keeps a real key from reaching the application that does not hold it.

Providers, gateways and error pages repeat what they got: the key is taken out of header
values, of bodies byte by byte (however they are cut into chunks), and of texts that grow in
a stream. In bytes it becomes asterisks of the same length, so that no framing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from penstock.wire.channel_text import Replacement, ScanStep

REMOVED = "[credential removed]"


def spellings(secrets: Sequence[str]) -> tuple[str, ...]:
    """The secrets as they may be repeated: plain, percent-encoded, in JSON; longest first."""
    found: set[str] = set()
    for secret in secrets:
        escaped = secret.replace("\\", "\\\\").replace('"', '\\"')
        found |= {secret, escaped, escaped.replace("/", "\\/")}
        for encoded in (quote(secret, safe=""), quote(secret)):
            found |= {encoded, encoded.replace("%2F", "%2f").replace("%2B", "%2b")}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


class Echoes:
    """The spellings of one call's secrets. Does not show them."""

    __slots__ = ("_bytes", "_texts", "seen")

    def __init__(self, secrets: Sequence[str]) -> None:
        self._texts = spellings(secrets)
        self._bytes = tuple(text.encode() for text in self._texts)
        self.seen = 0  # how often one was found and taken out

    def mask(self, data: bytes) -> bytes:
        """``data`` without the secrets, of the same length."""
        for secret in self._bytes:
            if secret in data:
                self.seen += data.count(secret)
                data = data.replace(secret, b"*" * len(secret))
        return data

    def held_from(self, data: bytes) -> int:
        """From where the end of ``data`` may be the beginning of a secret."""
        return min(_growing(data, secret) for secret in self._bytes)

    def scanner(self) -> EchoScanner:
        """A scanner for one text of a streamed answer."""
        return EchoScanner(self, self._texts)


class EchoStream:
    """The bytes of one body, in pieces: what leaves holds no secret, whole or cut."""

    __slots__ = ("_echoes", "_held")

    def __init__(self, echoes: Echoes) -> None:
        self._echoes = echoes
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may leave now."""
        data = self._echoes.mask(self._held + chunk)
        at = self._echoes.held_from(data)
        self._held = data[at:]
        return data[:at]

    def end(self) -> bytes:
        """The rest: the beginning of a secret that did not go on."""
        rest, self._held = self._held, b""
        return rest


class EchoScanner:
    """A ``ChannelScanner``: finds secrets that are spread over events."""

    __slots__ = ("_echoes", "_offset", "_text", "_texts")

    def __init__(self, echoes: Echoes, texts: Sequence[str]) -> None:
        self._echoes = echoes
        self._texts = texts
        self._text = ""  # the held tail
        self._offset = 0  # absolute offset of its first character

    def feed(self, text: str) -> ScanStep:
        """Take the next piece; say what is replaced and up to where text may leave."""
        self._text += text
        found, done = self._found()
        keep = max(done, min(_growing(self._text, secret) for secret in self._texts))
        self._text = self._text[keep:]
        self._offset += keep
        return ScanStep(found, self._offset)

    def finish(self) -> ScanStep:
        """No more text comes: everything held may leave."""
        found, _ = self._found()
        self._offset += len(self._text)
        self._text = ""
        return ScanStep(found, self._offset)

    def _found(self) -> tuple[list[Replacement], int]:
        """Replacements in order, and the index after the last one."""
        found: list[Replacement] = []
        at = 0
        while True:
            starts = [(self._text.find(secret, at), secret) for secret in self._texts]
            hits = [(start, -len(secret)) for start, secret in starts if start >= 0]
            if not hits:
                return found, at
            start, length = min(hits)
            at = start - length
            self._echoes.seen += 1
            found.append(Replacement(self._offset + start, self._offset + at, REMOVED))


def _growing[S: (str, bytes)](data: S, secret: S) -> int:
    """The first index from which all of the rest is a proper beginning of ``secret``."""
    at = data.find(secret[:1], max(0, len(data) - len(secret) + 1))
    while at >= 0:
        if secret.startswith(data[at:]):
            return at
        at = data.find(secret[:1], at + 1)
    return len(data)
