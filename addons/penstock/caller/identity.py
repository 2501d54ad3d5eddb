"""A caller that proved who it is, how callers are asked to, and what a failed proof is.

Plain values. A password is never kept; a token is kept where it can be exchanged for the
destination's (RFC 8693), and does not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.exchange import Workload

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
class MtlsCheck:
    """Whose client certificates prove a caller: signed by ``ca`` (a PEM file), of ``names``.

    ``names`` are patterns of SPIFFE IDs, DNS or mail names; none: whoever the authority signs.
    """

    ca: str
    names: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class CallerCheck:
    """How callers prove who they are. ``required``: without it nothing is let through."""

    required: bool = True
    passwords: str = ""  # a file of name:hash
    jwt: JwtCheck | None = None
    mtls: MtlsCheck | None = None


@dataclass(slots=True, frozen=True)
class Identity:
    """Who a caller is, proved. ``expires_at`` is seconds since the epoch; None: no end.

    ``spiffe`` and ``workload`` are what a client certificate says.
    """

    user: str | None
    claims: Mapping[str, Any] = field(default_factory=dict)
    expires_at: float | None = None
    token: str | None = field(default=None, repr=False)
    spiffe: str | None = None
    workload: Workload | None = None

    def holds(self, now: float) -> bool:
        """True while the proof is good."""
        return self.expires_at is None or now < self.expires_at

    def on(self, connection: Identity | None) -> Identity:
        """This proof on a connection whose certificate proves something as well."""
        if connection is None:
            return self
        ends = [at for at in (self.expires_at, connection.expires_at) if at is not None]
        return replace(
            self,
            expires_at=min(ends, default=None),
            spiffe=connection.spiffe,
            workload=connection.workload,
        )


class NotProvedError(Exception):
    """The caller did not prove who it is. The text is ours and repeats nothing it sent."""
