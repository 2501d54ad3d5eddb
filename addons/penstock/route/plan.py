"""What the policy decided about where a call goes: its targets in order, and how long to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.exchange import Destination
from penstock.route.target import Target
from penstock.route.translate.errors import Format, Home


@dataclass(slots=True, frozen=True)
class Choice:
    """One target for one call: as what destination it is judged, which model is asked for."""

    target: Target
    destination: Destination
    asked_model: str | None
    name: str  # host, port and base: what health is kept for
    use: Any = None  # the credential it gets (policy.decision.Use), None: the caller's or none
    home: Home | None = None  # of Anthropic's messages that go to another home of theirs
    into: Format | None = None  # the wire format the call is translated into, None: its own

    @property
    def model(self) -> str:
        return self.asked_model or ""

    @property
    def weight(self) -> int:
        return self.target.weight

    @property
    def priority(self) -> int:
        return self.target.priority

    @property
    def region(self) -> str | None:
        return self.target.region


@dataclass(slots=True, frozen=True)
class Plan:
    """``attempt_seconds``: how long one attempt may take to its first byte when another could
    follow; ``give_up_seconds``: after that long no further attempt begins. None: no bound."""

    rule: str
    choices: tuple[Choice, ...]
    attempt_seconds: float | None = None
    give_up_seconds: float | None = None


def name_of(destination: Destination, base: str) -> str:
    """What health is kept for: ``host/base``, and the port where it is not 443."""
    port = "" if destination.port == 443 else f":{destination.port}"
    return f"{destination.host}{port}{base}"
