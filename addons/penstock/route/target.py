"""A target: one upstream that can serve a route, and what is known about it from the policy.

Plain values. ``original`` is the destination the caller itself asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

ORIGINAL = "original"
DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(slots=True, frozen=True)
class Target:
    """``base`` is the path that stands before the API's own (``/v1``); "" where it is not said.

    ``models`` maps what callers ask for (a name or a pattern) to the name used here.
    ``format`` is the wire format it speaks, where that is not its provider's own. ``translate``:
    calls of another format are translated into it, with ``max_tokens`` where they name no maximum.
    ``key`` "caller": the caller's own key goes along, "none": it does not, None: it goes along
    to the host the caller meant and to no other.
    """

    url: str
    scheme: str = "https"
    host: str = ""
    port: int = 443
    base: str = ""
    provider: str | None = None
    models: tuple[tuple[str, str], ...] = ()
    weight: int = 1
    priority: int = 1
    region: str | None = None
    api_version: str | None = None
    format: str | None = None
    key: Literal["caller", "none"] | None = None
    translate: bool = False
    max_tokens: int | None = None

    @property
    def is_original(self) -> bool:
        """True for the place the caller asked for."""
        return self.url == ORIGINAL

    def model_for(self, asked: str | None) -> str | None:
        """The name of ``asked`` here: an exact entry, else the longest pattern, else the same."""
        if asked is None or not self.models:
            return asked
        best = None
        for pattern, name in self.models:
            if pattern == asked:
                return name
            if _pattern(pattern).match(asked) and (best is None or len(pattern) > len(best[0])):
                best = (pattern, name)
        return best[1] if best else asked


def parse_url(url: str) -> tuple[str, str, int, str]:
    """``https://host:port/base`` as (scheme, host, port, base); ValueError says what is wrong."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("is not a URL")
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("begins with https:// or http://")
    if parts.username or parts.password or "@" in parts.netloc:
        raise ValueError("has a user name or password in it: keys belong into a credential rule")
    if parts.query or parts.fragment:
        raise ValueError("ends with its path: no query, no fragment")
    if not parts.hostname:
        raise ValueError("names no host")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return parts.scheme, parts.hostname.rstrip(".").lower(), port, parts.path.rstrip("/")


@lru_cache(maxsize=4096)  # patterns of the policy: a few per target
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern), re.IGNORECASE)
