"""One decision in the making: what every kind of rule needs to be judged and written down.

``decide`` makes a Judge for each call and lets the kinds of rules speak one after another;
the kinds with a file of their own (limits, routes, credentials) are handed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from penstock.exchange import Finding, Leaf, Zone
from penstock.policy.call import Call, kind_of
from penstock.policy.conditions.activation import Activation
from penstock.policy.conditions.compile import make_context
from penstock.policy.confine import leaving
from penstock.policy.content import (
    ContentVerdict,
    Direction,
    Ignored,
    judge_content,
    judge_finding,
    looks_at,
)
from penstock.policy.decision import Decision, Reason, Verdict, Yes
from penstock.policy.grants import asker, asks_a_person, ticket_of, tool_denials
from penstock.policy.harmless import ignored
from penstock.policy.leaks import leaks_of
from penstock.policy.policy import Policy, Rule
from penstock.policy.refusals import policy_refusal, text
from penstock.policy.rules.allow import Allow
from penstock.policy.rules.canary import planting
from penstock.policy.rules.deny import Deny
from penstock.policy.rules.tools import Tools
from penstock.policy.state import State
from penstock.route.credentials.places import IDENTITY_HEADER, form_for
from penstock.wire.edits import Edit
from penstock.wire.family import Refusal

SIGNED_THOUGHTS = ("anthropic", "bedrock", "google")
STRENGTH: tuple[Verdict, ...] = ("allow", "edit", "hold", "deny")
UNKNOWN_API = "penstock.unknown-api"
WHOLE_ANSWER = Leaf((), "", "assistant", editable=False)
# Names of models are shorter; a longer one is no name and is not repeated.
NAME_CHARACTERS_MAX = 80


class Judge:
    """One decision in the making. Lives for one call of ``decide``."""

    def __init__(self, policy: Policy, call: Call, state: State, now: float) -> None:
        self.policy = policy
        self.call = call
        self.state = state
        self.now = now
        self.decision = Decision(policy_hash=policy.hash)
        self.context: Any = None
        self.leaves = False  # a route takes the call away from the destination it was meant for
        self.waits: list[Rule[Tools]] = []  # that ask for a person's yes
        self.keyless = False  # and the caller's key stays behind

    # ------------------------------------------------------------------ which rules

    def applying[R: Rule[Any]](self, rules: Sequence[R]) -> list[R]:
        """The rules whose condition holds; one that cannot be evaluated fails as told."""
        return [rule for rule in rules if rule.when is None or self.holds(rule)]

    def holds(self, rule: Rule[Any]) -> bool | None:
        """Whether the rule's condition is true; None when it cannot be evaluated."""
        assert rule.when is not None  # asked for rules with a condition only
        if self.context is None:
            # The garbage collector does not see into the engine's context: what that holds must
            # not lead back to this Judge, or no call is ever let go of.
            tainted = partial(is_tainted, self.state, self.call)
            self.context = make_context(Activation(self.call, self.now, tainted).resolve)
        try:
            return rule.when.holds(self.context)
        except Exception as error:  # noqa: BLE001 - a rule that cannot be evaluated is a decision
            self.failed(rule, error)
            return None

    def confinement(self) -> None:
        """Refuse what would take a value elsewhere that has to stay with its server."""
        told: set[str] = set()
        confining = self.applying(self.policy.confines)
        for one in leaving(confining, self.call, self.decision.edits, self.state):
            if one.rule.id not in told:
                told.add(one.rule.id)
                what = "a value from another server's result would leave with this call"
                self.deny(one.rule, what)

    def failed(self, rule: Rule[Any], error: Exception) -> None:
        """``on_error`` of the rule: the call is refused, or goes on without it. Counted."""
        self.decision.failures.append(f"{rule.id}: {type(error).__name__}")
        if rule.on_error == "deny":
            self.deny(rule, "the rule could not be evaluated")

    # ------------------------------------------------------------------ who may call what

    def apart(self, call: Call) -> Judge:
        """Another decision by the same policy at the same time, about ``call``."""
        return Judge(self.policy, call, self.state, self.now)

    def destinations(self, pins: bool = True) -> None:
        for rule in self.applying(self.policy.denies):
            if rule.act.names(self.call):
                self.deny(rule, self.denied_because(rule))
        kind = kind_of(self.call)
        covering = [rule for rule in self.policy.allows if rule.act.covers(kind)]
        if covering and not self.leaves:
            admitting = [rule for rule in covering if self.admits(rule)]
            for enforced in (True, False):
                self.uncovered(covering, admitting, self.not_allowed, enforced)
        if self.policy.pins and pins and not self.keyless:
            self.pins()
        unknown = kind == "model" and self.call.exchange.api.startswith("unknown")
        if unknown and self.policy.unknown_api == "deny":
            self.deny_unknown_api()

    def pins(self) -> None:
        """Refuse a key that is on no list of those that speak of the call.

        A call that gets its key from a credential rule carries the organisation's own.
        """
        if self.decision.credential is not None:
            return
        pinning = [rule for rule in self.applying(self.policy.pins) if rule.act.pins(self.call)]
        if pinning:
            knowing = [rule for rule in pinning if rule.act.knows_key(self.call)]
            for enforced in (True, False):
                self.uncovered(pinning, knowing, self.not_our_key, enforced)

    def admits(self, rule: Rule[Allow]) -> bool:
        """True when the rule lets the call through, or fails and says on_error: allow."""
        holds = rule.when is None or self.holds(rule)
        if holds is None:
            return rule.on_error == "allow"
        return holds and rule.act.admits(self.call)

    def uncovered(
        self,
        covering: list[Rule[Any]],
        admitting: list[Rule[Any]],
        why: Callable[[], str],
        enforced: bool,
    ) -> None:
        """Refuse what rules cover and none admits; watching rules are judged apart."""
        listing = [rule for rule in covering if rule.enforced or not enforced]
        if not listing or any(rule in listing for rule in admitting):
            return
        if enforced or not any(rule.enforced for rule in listing):
            self.deny(listing[0], why())

    def denied_because(self, rule: Rule[Deny]) -> str:
        used = rule.act.used_references(self.call.exchange)
        if used:
            return f"the call refers to content it does not send ({', '.join(used)})"
        tools = rule.act.declared(self.call.exchange)
        if tools:
            return f"the call declares a tool that is denied ({self.shown(tools[0])})"
        blob = rule.act.blobs.named(self.call) if rule.act.blobs is not None else None
        if blob is not None:
            kinds = " or ".join(sorted(blob.types)) or "of no known kind"
            return f"the call carries a file ({kinds}, {blob.size_bytes} bytes) that is denied"
        return f"calls like this one to {self.call.destination.host} are denied"

    def not_our_key(self) -> str:
        host = self.call.destination.host
        if not self.call.caller.credentials:
            return f"calls to {host} need one of the organisation's keys, and this one has none"
        return f"the call carries a key for {host} that is not one of the organisation's"

    def not_allowed(self) -> str:
        model = self.call.exchange.model
        what = (
            f"the model '{self.shown(model)}' at {self.call.destination.host}"
            if model
            else (f"this call to {self.call.destination.host}")
        )
        return f"{what} is not on the list of what is allowed"

    def shown(self, name: str) -> str:
        """A name the caller chose, unless it is long or something secret was put into it."""
        if len(name) > NAME_CHARACTERS_MAX or self.state.findings(name, "other"):
            return "(not shown)"
        return name

    def deny_unknown_api(self) -> None:
        why = "the call is in a format that cannot be read"
        enforced = self.policy.mode == "enforce"
        self.note("deny", UNKNOWN_API, "deny", why, enforced)
        if enforced and self.decision.refusal is None:
            message = text(UNKNOWN_API, why, "The policy says unknown_api: deny.")
            self.decision.refusal = Refusal(
                403, "policy_denied", message, UNKNOWN_API, self.call.id
            )

    def tools(self) -> None:
        if not self.policy.tools:
            return
        rules = self.applying(self.policy.tools)
        use = self.decision.credential
        own = use is None or form_for(use.spec, (), "", None) == IDENTITY_HEADER
        for denial in tool_denials(rules, self.call, self.state, self.policy.hash, own):
            if denial.ticket and denial.rule.enforced:
                self.waits.append(denial.rule)
                if self.decision.refusal is None:
                    self.decision.ticket = denial.ticket
            self.deny(denial.rule, denial.why, denial.hidden)
        asking = None if self.waits else asks_a_person(rules, self.call)
        if asking is not None and self.call.exchange.mcp is not None:
            ticket = ticket_of(self.call, self.call.exchange.mcp, self.state, self.policy.hash)
            self.decision.yes = Yes(ticket, asking)

    def hold(self) -> None:
        """Say how long the call may wait for a person, where nothing else refuses it."""
        denials = [r for r in self.decision.reasons if r.enforced and r.verdict == "deny"]
        if self.waits and len(denials) == len(self.waits):
            self.decision.hold_seconds = min(rule.act.hold_seconds for rule in self.waits)

    # ------------------------------------------------------------------ content

    def reads_content(self) -> bool:
        """False where the policy says to pass what nobody here can read."""
        unknown = self.call.exchange.api.startswith("unknown")
        return not (unknown and self.policy.unknown_api == "pass")

    def content(self, rules: list[Rule[Any]], leaves: Iterable[Leaf], direction: Direction) -> None:
        named = [r for r in rules if not isinstance(r.act, Deny) or r.act.names(self.call)]
        leaks = leaks_of(self.policy.call_types, self.call, self.state)
        try:
            if leaks is not None:
                leaves = list(leaves)
                leaks.learn(leaves, direction)
            self.take(judge_content(named, leaves, direction, self.state, self.ignored(), leaks))
            if leaks is not None and direction == "response":
                self.doubt(named, leaks.uncertainty())
        except Exception as error:  # noqa: BLE001 - a detector that fails is each rule's on_error
            for rule in named:
                self.failed(rule, error)

    def ignored(self) -> Ignored | None:
        """Says which findings the policy's ``ignore`` covers today; None without one."""
        return ignored(self.policy, self.state, self.now)

    def doubt(self, rules: list[Rule[Any]], finding: Finding | None) -> None:
        """Let rules speak about the whole answer: the model was not sure of it."""
        if finding is not None:
            verdict = ContentVerdict()
            speaking = [rule for rule in rules if looks_at(rule, "assistant", "response")]
            judge_finding(verdict, speaking, WHOLE_ANSWER, finding, "response", self.state)
            self.take(verdict)

    def take(self, verdict: ContentVerdict) -> None:
        self.decision.findings += verdict.findings
        for rule, why in verdict.denials:
            if not any(reason.rule == rule.id for reason in self.decision.reasons):
                self.deny(rule, why)
        for rule, why in verdict.spoke.values():
            self.note(rule.verb, rule.id, "edit", why, rule.enforced)
        if self.decision.verdict != "deny":
            self.decision.edits += verdict.edits

    def plant(self) -> None:
        """Put the canary into the system prompt, once, where a rule wants one."""
        rules = [rule for rule in self.policy.canaries if rule.act.names(self.call)]
        speaking = self.applying(rules)
        if not speaking or self.decision.verdict == "deny":
            return
        edit = planting(self.call, self.state.canary(self.call.destination.host))
        if edit is None:
            return
        for rule in speaking:
            self.note(rule.verb, rule.id, "edit", "a canary is planted", rule.enforced)
        if any(rule.enforced for rule in speaking):
            self.decision.edits.append(edit)

    def restore(self, leaves: Iterable[Leaf]) -> None:
        """Put the originals of this caller's placeholders back."""
        if self.decision.verdict == "deny" or self.state.restorer(nested=False) is None:
            return
        for leaf in leaves:
            if leaf.blob or not leaf.editable or not leaf.text:
                continue
            if is_signed(leaf.zone, self.call):
                continue
            restorer = self.state.restorer(leaf.nested)
            if restorer is None:
                return
            steps = (restorer.feed(leaf.text), restorer.finish())
            for step in steps:
                for one in step.replacements:
                    self.decision.edits.append(Edit(leaf, one.start, one.end, one.text))
                    self.decision.restored += 1

    # ------------------------------------------------------------------ what is written down

    def deny(self, rule: Rule[Any], why: str, hidden: bool = False) -> None:
        self.note(rule.verb, rule.id, "deny", why, rule.enforced)
        if rule.enforced:
            self.decision.edits.clear()
            if self.decision.refusal is None:
                self.decision.refusal = policy_refusal(rule, why, self.call, hidden)

    def note(self, verb: str, rule: str, verdict: Verdict, why: str, enforced: bool) -> None:
        note(self.decision, Reason(rule, verb, verdict, why, enforced))


def is_tainted(state: State, call: Call) -> bool:
    """True when content that may be hostile came to the caller lately."""
    return state.memory.taints.is_tainted(asker(call.caller))


def note(decision: Decision, reason: Reason) -> None:
    """One more reason, and the verdict it leads to."""
    decision.reasons.append(reason)
    decision.would = stronger(decision.would, reason.verdict)
    if reason.enforced:
        decision.verdict = stronger(decision.verdict, reason.verdict)


def is_signed(zone: Zone, call: Call) -> bool:
    """True for thoughts that the provider signs and gets back as they came.

    A value put back into one could not be taken out again on the next turn.
    """
    return zone == "reasoning" and call.exchange.api.startswith(SIGNED_THOUGHTS)


def stronger(one: Verdict, other: Verdict) -> Verdict:
    """The verdict that changes more."""
    return max(one, other, key=STRENGTH.index)
