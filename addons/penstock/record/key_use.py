"""Which provider keys were used, where and by whom: a view over audit lines.

Knows keys by their fingerprints only; the log holds nothing else of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Names listed per key, and keys listed: an attacker can invent keys call by call.
CALLERS_MAX = 50
KEYS_MAX = 10_000


@dataclass(slots=True)
class KeyUse:
    """One key towards one provider. Times as in the log (RFC 3339)."""

    fingerprint: str
    provider: str
    callers: set[str] = field(default_factory=set)
    calls: int = 0
    refused: int = 0
    rejected: int = 0  # the provider said 401 or 403
    first_seen: str = ""
    last_seen: str = ""

    def count(self, call: dict[str, Any]) -> None:
        """Take one audit line."""
        self.calls += 1
        refused = call.get("outcome") == "refused"
        self.refused += refused
        self.rejected += not refused and call.get("status") in (401, 403)
        moment = str(call.get("time", ""))
        self.first_seen = min(self.first_seen or moment, moment)
        self.last_seen = max(self.last_seen, moment)
        if len(self.callers) < CALLERS_MAX and (name := _name(call.get("caller") or {})):
            self.callers.add(name)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "fingerprint": self.fingerprint,
            "provider": self.provider,
            "callers": sorted(self.callers),
            "calls": self.calls,
            "refused": self.refused,
            "rejected": self.rejected,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
        }


def key_uses(calls: Iterable[dict[str, Any]]) -> list[KeyUse]:
    """Every key seen in ``calls`` (audit lines), most recently used first."""
    seen: dict[tuple[str, str], KeyUse] = {}
    for call in calls:
        fingerprint = (call.get("caller") or {}).get("credential")
        if not isinstance(fingerprint, str):
            continue
        destination = call.get("destination") or {}
        provider = str(destination.get("provider") or destination.get("host") or "")
        use = seen.get((fingerprint, provider))
        if use is None and len(seen) < KEYS_MAX:
            use = seen[fingerprint, provider] = KeyUse(fingerprint, provider)
        if use is not None:
            use.count(call)
    return sorted(seen.values(), key=lambda use: use.last_seen, reverse=True)


def _name(caller: dict[str, Any]) -> str:
    """The best name of who called, its user in front where there is one."""
    names = (caller.get(name) for name in ("workload", "agent", "process", "user_agent"))
    app = next((str(name) for name in names if name), "")
    user = caller.get("user")
    return f"{user} ({app})" if user and app else str(user or app)
