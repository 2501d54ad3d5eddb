"""A caller that proved who it is, how callers are asked to, and what a failed proof is.

Plain values. A password is never kept; a token is kept where it can be exchanged for the
destination's (RFC 8693), and does not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
)
DEFAULT_ALGORITHMS = ("RS256", "ES256")
DEFAULT_USER = "sub"


@dataclass(slots=True, frozen=True)
class JwtCheck:
    """What a token must be. ``keys`` is the URL or file of a key set (RFC 7517)."""

    issuer: str
    audience: tuple[str, ...]
    keys: str
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    user: str = DEFAULT_USER  # the claim that names the caller
    ca: str = ""


@dataclass(slots=True, frozen=True)
class CallerCheck:
    """How callers prove who they are. ``required``: without it nothing is let through."""

    required: bool = True
    passwords: str = ""  # a file of name:hash
    jwt: JwtCheck | None = None


@dataclass(slots=True, frozen=True)
class Identity:
    """Who a caller is, proved. ``expires_at`` is seconds since the epoch; None: no end."""

    user: str | None
    claims: Mapping[str, Any] = field(default_factory=dict)
    expires_at: float | None = None
    token: str | None = field(default=None, repr=False)

    def holds(self, now: float) -> bool:
        """True while the proof is good."""
        return self.expires_at is None or now < self.expires_at


class NotProvedError(Exception):
    """The caller did not prove who it is. The text is ours and repeats nothing it sent."""
