"""What a source gives: a credential with its times, or a reason without a secret in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Shorter is no key, and taking every occurrence of it out of answers would mutilate them.
KEY_CHARACTERS_MIN = 8
# Half of what the proxy lets a head have; tokens with many claims stay below 16 KiB.
KEY_CHARACTERS_MAX = 32 * 1024

_VISIBLE = re.compile(r"[\x21-\x7e]+")


class SourceError(Exception):
    """A source gave nothing usable. The text names the source's trouble, never its answer."""


@dataclass(slots=True, frozen=True)
class AwsKeys:
    """Keys that sign requests (SigV4)."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(slots=True, frozen=True)
class Fetched:
    """A credential. Times are seconds since the epoch.

    From ``renew_at`` on a new one is fetched in the background while this one serves; with
    ``waits`` the next call waits for that look (a file: it costs microseconds). After
    ``expires_at`` it serves no more; None: for as long as ``stale_seconds`` while the source fails.
    """

    value: str | AwsKeys = field(repr=False)
    renew_at: float | None = None
    expires_at: float | None = None
    waits: bool = False
    stale_seconds: float = 0.0

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must not reach an application."""
        if isinstance(self.value, str):
            return (self.value,)
        token = self.value.session_token
        return (self.value.secret_access_key, *([token] if token else []))


def usable(text: object) -> str:
    """``text`` without the line end files have, fit for a header.

    Raises:
        SourceError: it cannot be a key.
    """
    value = text.strip() if isinstance(text, str) else ""
    if not KEY_CHARACTERS_MIN <= len(value) <= KEY_CHARACTERS_MAX:
        raise SourceError(
            f"what it gave is no key ({len(value)} characters, "
            f"{KEY_CHARACTERS_MIN} to {KEY_CHARACTERS_MAX} are)"
        )
    if not _VISIBLE.fullmatch(value):
        raise SourceError("what it gave cannot stand in a header: visible ASCII only")
    return value


def lifetime(now: float, seconds: float) -> tuple[float, float]:
    """(renew_at, expires_at) of something that lasts ``seconds``: renewed after 3/4 of them."""
    return now + 0.75 * seconds, now + seconds
