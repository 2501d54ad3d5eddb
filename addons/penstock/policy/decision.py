"""What the policy engine answers: a value, never an exception, never an effect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from penstock.exchange import Finding, Path, Zone
from penstock.meter.quotas import Claim, Reservation
from penstock.route.credentials.spec import Spec
from penstock.route.plan import Plan
from penstock.wire.edits import Edit
from penstock.wire.family import Refusal

if TYPE_CHECKING:
    from penstock.policy.policy import Rule
    from penstock.policy.rules.tools import Tools

Mode = Literal["observe", "shadow", "enforce"]
Verdict = Literal["allow", "edit", "deny", "hold"]


@dataclass(slots=True, frozen=True)
class Reason:
    """One rule that spoke. ``enforced`` is False in observe and shadow mode."""

    rule: str
    verb: str  # allow, deny, redact, limit, tools, credential, route
    verdict: Verdict
    message: str
    enforced: bool = True


@dataclass(slots=True, frozen=True)
class Located:
    """A finding and where it was: which leaf, which direction. Carries no text."""

    finding: Finding
    zone: Zone
    path: Path
    direction: Literal["request", "response"]
    action: Literal["none", "redact", "deny"] = "none"


@dataclass(slots=True, frozen=True)
class Use:
    """The real key a call gets, by the rule that says so; fetching it is the proxy's work."""

    rule: str
    spec: Spec
    on_error: Literal["deny", "allow"]


@dataclass(slots=True, frozen=True)
class Yes:
    """A person's yes that lets a call through: it has to be used up when the call is made."""

    ticket: str
    rule: Rule[Tools]


@dataclass(slots=True)
class Decision:
    """The verdict on one call (or on its answer) and everything that follows from it."""

    verdict: Verdict = "allow"
    reasons: list[Reason] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    findings: list[Located] = field(default_factory=list)
    refusal: Refusal | None = None
    would: Verdict = "allow"  # the verdict if every rule were enforced (shadow mode)
    reservations: list[Reservation] = field(default_factory=list)  # to be settled or released
    pending: list[Claim] = field(default_factory=list)  # the shared store has to be asked first
    model: str | None = None  # what a limit sends the call to instead
    credential: Use | None = None  # the real key that goes in place of the caller's
    route: Plan | None = None  # where it goes instead; None: where the caller sent it
    restored: int = 0  # placeholders put back into the answer
    failures: list[str] = field(default_factory=list)  # rules that could not be evaluated
    policy_hash: str = ""
    ticket: str = ""  # under which a person may allow the refused call
    hold_seconds: int = 0  # how long it may wait for that person, if that is all it lacks
    yes: Yes | None = None  # without which it would have been refused
