"""What reads a streamed answer: response rules and the way back of placeholders, per channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from penstock.exchange import Finding
from penstock.policy.call import Call
from penstock.policy.content import Ignored, wants
from penstock.policy.decision import Decision, Located, Reason, Verdict
from penstock.policy.judge import Judge, ignored, is_signed, note
from penstock.policy.policy import Policy, Rule, find_of
from penstock.policy.refusals import policy_refusal
from penstock.policy.rules.deny import Deny
from penstock.policy.rules.redact import METHODS, Redact, replacement
from penstock.policy.state import State
from penstock.wire.channel_text import ChannelScanner, Replacement, ScanStep
from penstock.wire.family import Channel, Refusal

Action = Literal["none", "redact", "deny"]
ScannerFor = Callable[[Channel], ChannelScanner | None]


def answer_scanner(
    policy: Policy, call: Call, state: State, now: float, decision: Decision
) -> ScannerFor | None:
    """Scanners for the channels of a streamed answer; None when nothing in it can change.

    What the scanners find is added to ``decision`` while the answer runs.
    """
    rules: list[Rule[Any]] = []
    if policy.reads_answers:
        judge = Judge(policy, call, state, now)
        rules = [
            rule
            for rule in judge.applying(policy.content_rules)
            if (find := find_of(rule)) is not None and find.response and about(rule, call)
        ]
    if not rules and state.restorer(nested=False) is None:
        return None

    harmless = ignored(policy, state, now)

    def scanner(channel: Channel) -> ChannelScanner | None:
        parts: list[ChannelScanner] = []
        if rules:
            reaction = Reaction(rules, call, state, decision, channel, harmless)
            parts.append(Reacting(state.scanner(reaction.types, reaction.react, channel)))
        restorer = None if is_signed(channel.zone, call) else state.restorer(channel.nested)
        if restorer is not None:
            parts.append(Restoring(restorer, decision))
        if len(parts) < 2:
            return parts[0] if parts else None
        return Together(parts)

    return scanner


def may_act(policy: Policy, state: State) -> bool:
    """False when what ``answer_scanner`` gives only watches: no enforced rule, nothing sealed."""
    acting = (find_of(rule) for rule in policy.content_rules if rule.enforced)
    return any(find.response for find in acting if find) or state.restorer(nested=False) is not None


def about(rule: Rule[Any], call: Call) -> bool:
    return not isinstance(rule.act, Deny) or bool(rule.act.names(call))


class Reaction:
    """What the rules do about a finding in one channel."""

    def __init__(
        self,
        rules: Sequence[Rule[Any]],
        call: Call,
        state: State,
        decision: Decision,
        channel: Channel,
        harmless: Ignored | None = None,
    ) -> None:
        self.rules = rules
        self.call = call
        self.state = state
        self.decision = decision
        self.channel = channel
        self.harmless = harmless
        finds = [find for rule in rules if (find := find_of(rule)) is not None]
        self.types = tuple(sorted({name for find in finds for name in find.types}))

    def react(self, finding: Finding, value: str) -> str:
        """The text in place of ``value``; Kept where it stays, Ending where the answer ends."""
        if self.harmless is not None and self.harmless(finding, value):
            return Kept(value)
        wanting = [rule for rule in self.rules if wants(rule, finding)]
        why = f"{finding.type} found in the answer"
        denying = [rule for rule in wanting if isinstance(rule.act, Deny)]
        for rule in wanting:
            self.note(rule, "deny" if rule in denying else "edit", why)
        enforced = [rule for rule in wanting if rule.enforced]
        refusing = next((rule for rule in enforced if rule in denying), None)
        redacting = [rule for rule in enforced if isinstance(rule.act, Redact)]
        action: Action = "deny" if refusing else "redact" if redacting else "none"
        self.decision.findings.append(
            Located(finding, self.channel.zone, self.channel.key, "response", action)
        )
        if refusing is not None:
            self.decision.refusal = policy_refusal(refusing, why, self.call)
            return Ending(self.decision.refusal)
        if not redacting:
            return Kept(value)
        method = min((rule.act.method for rule in redacting), key=METHODS.index)
        return replacement(method, finding.type, value, self.state)

    def note(self, rule: Rule[Any], verdict: Verdict, why: str) -> None:
        """Each rule's reason once: an answer may run for an hour."""
        reason = Reason(rule.id, rule.verb, verdict, why, rule.enforced)
        if reason not in self.decision.reasons:
            note(self.decision, reason)


class Kept(str):
    """A found value that stays as it is: the rules only watch."""


class Ending(str):
    """Stands for a value that must not leave: the answer ends here."""

    refusal: Refusal

    def __new__(cls, refusal: Refusal) -> Ending:
        made = super().__new__(cls, "")
        made.refusal = refusal
        return made


class Reacting:
    """A scanner whose replacements are the rules' reactions."""

    def __init__(self, scanner: ChannelScanner) -> None:
        self.scanner = scanner

    def feed(self, text: str) -> ScanStep:
        return self.heeded(self.scanner.feed(text))

    def finish(self) -> ScanStep:
        return self.heeded(self.scanner.finish())

    def heeded(self, step: ScanStep) -> ScanStep:
        texts = [one.text for one in step.replacements]
        ending = next((text for text in texts if isinstance(text, Ending)), None)
        kept = [one for one in step.replacements if not isinstance(one.text, Kept)]
        return ScanStep(
            kept, step.settled, step.stop or (ending.refusal if ending is not None else None)
        )


class Restoring:
    """A restorer that counts into the decision."""

    def __init__(self, restorer: ChannelScanner, decision: Decision) -> None:
        self.restorer = restorer
        self.decision = decision

    def feed(self, text: str) -> ScanStep:
        return self.counted(self.restorer.feed(text))

    def finish(self) -> ScanStep:
        return self.counted(self.restorer.finish())

    def counted(self, step: ScanStep) -> ScanStep:
        self.decision.restored += len(step.replacements)
        return step


class Together:
    """Several scanners over one channel: all see all, the slowest decides what may leave."""

    def __init__(self, scanners: Sequence[ChannelScanner]) -> None:
        self.scanners = scanners

    def feed(self, text: str) -> ScanStep:
        return self.merged([scanner.feed(text) for scanner in self.scanners])

    def finish(self) -> ScanStep:
        return self.merged([scanner.finish() for scanner in self.scanners])

    def merged(self, steps: list[ScanStep]) -> ScanStep:
        replacements: list[Replacement] = [one for step in steps for one in step.replacements]
        stop = next((step.stop for step in steps if step.stop is not None), None)
        replacements.sort(key=lambda one: one.start)
        return ScanStep(replacements, min(step.settled for step in steps), stop)
