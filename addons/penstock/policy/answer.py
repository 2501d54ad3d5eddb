"""What reads a streamed answer: response rules and the way back of placeholders, per channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from penstock.detect.answers.toxicity import TOXICITY
from penstock.detect.calls import LOW_LOGPROB
from penstock.detect.injection.hidden import CONSTRUCTS
from penstock.detect.stream import Whole
from penstock.exchange import Finding
from penstock.policy.call import Call
from penstock.policy.content import FINDINGS_KEPT, Ignored, redacts, wants
from penstock.policy.decision import Decision, Located, Reason, Verdict
from penstock.policy.harmless import ignored
from penstock.policy.judge import Judge, is_signed, note
from penstock.policy.leaks import LOW_LOGPROB_MEAN, leaks_of
from penstock.policy.mark import is_prose, marks_of
from penstock.policy.policy import TONE, Policy, Rule, find_of
from penstock.policy.refusals import policy_refusal
from penstock.policy.rules.deny import Deny
from penstock.policy.rules.redact import METHODS, Redact, replacement
from penstock.policy.state import Kept, State
from penstock.wire.channel_text import ChannelScanner, Replacement, ScanStep
from penstock.wire.channels import ScannerFor
from penstock.wire.edits import merge
from penstock.wire.family import Channel, Refusal
from penstock.wire.jsonrpc.calls import RESULT_TEXT

# What ends an answer where an enforced rule denies it, and is told afterwards where none does.
HOSTILE = Finding(TOXICITY, 0, 0, 0.5, TOXICITY)
UNSURE = Finding(LOW_LOGPROB, 0, 0, 0.5, LOW_LOGPROB)
# The mean of fewer tokens says little of an answer; its first ones waver anyway.
UNSURE_TOKENS_MIN = 64

Action = Literal["none", "redact", "deny"]


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
    leaks = leaks_of(policy.call_types, call, state)
    if not rules and leaks is None and state.restorer(nested=False) is None:
        return None

    harmless = ignored(policy, state, now)
    marks = [rule for rule in rules if isinstance(rule.act, Redact) and rule.act.method == "mark"]

    def scanner(channel: Channel) -> ChannelScanner | None:
        parts: list[ChannelScanner] = []
        reaction = Reaction(rules, call, state, decision, channel, harmless) if rules else None
        if reaction is not None:
            detectors = state.scanner(reaction.types, reaction.react, channel)
            parts.append(Reacting(detectors, reaction))
            if channel.zone == "assistant" and reaction.ends_on(UNSURE):
                parts.append(Reacting(Wavering(call, reaction.react), reaction))
        if leaks is not None:
            react = reaction.react if reaction is not None else kept
            parts += [Reacting(one, reaction) for one in leaks.scanners(channel, react)]
        restorer = None if is_signed(channel.zone, call) else state.restorer(channel.nested)
        if restorer is not None:
            parts.append(Restoring(restorer, decision))
        if not parts:
            return None
        whole = parts[0] if len(parts) == 1 else Together(parts)
        if reaction is None or not marks or not holds_result(channel):
            return whole
        return Marking(whole, marks, reaction)

    return scanner


def holds_result(channel: Channel) -> bool:
    """True for the words an MCP server answers: what may be marked in a stream."""
    return channel.key == RESULT_TEXT and channel.zone == "tool_result"


def kept(finding: Finding, value: str) -> str:
    """No rule speaks about answers: what is found there is only remembered."""
    return Kept(value)


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
        self.found: list[Finding] = []  # what rules that mark have to know
        self.ending: Refusal | None = None  # the answer ends here
        finds = [find for rule in rules if (find := find_of(rule)) is not None]
        named = {name for find in finds for name in find.types}
        if any(rule.enforced and rule.act.method == "strip" for rule in rules if redacts(rule)):
            named.update(CONSTRUCTS)
        tone = self.ends_on(HOSTILE)
        self.types = tuple(sorted(n for n in named if tone or n.partition(".")[0] != TONE))

    def ends_on(self, finding: Finding) -> bool:
        """True when a rule would end the answer on this: else it is told of the whole, later."""
        denying = (r for r in self.rules if r.enforced and isinstance(r.act, Deny))
        return any(wants(rule, finding) for rule in denying)

    def react(self, finding: Finding, value: str) -> str:
        """The text in place of ``value``; Kept where it stays, Ending where the answer ends."""
        if self.harmless is not None and self.harmless(finding, value):
            return Kept(value)
        wanting = [rule for rule in self.rules if wants(rule, finding)]
        if not wanting:
            return Kept(value)  # a construct, which is held in case something stands in it
        if self.channel.zone == "tool_result" and len(self.found) < FINDINGS_KEPT:
            self.found.append(finding)
        why = f"{finding.type} found in the answer"
        denying = [rule for rule in wanting if isinstance(rule.act, Deny)]
        for rule in wanting:
            if rule in denying or redacts(rule):
                self.note(rule, "deny" if rule in denying else "edit", why)
        enforced = [rule for rule in wanting if rule.enforced]
        refusing = next((rule for rule in enforced if rule in denying), None)
        redacting = [rule for rule in enforced if redacts(rule)]
        action: Action = "deny" if refusing else "redact" if redacting else "none"
        if len(self.decision.findings) < FINDINGS_KEPT:
            self.decision.findings.append(
                Located(finding, self.channel.zone, self.channel.key, "response", action)
            )
        if refusing is not None:
            self.ending = self.decision.refusal = policy_refusal(refusing, why, self.call)
            return Ending(self.ending)
        if not redacting:
            return Kept(value)
        method = min((rule.act.method for rule in redacting), key=METHODS.index)
        new = replacement(method, finding.type, value, self.state)
        return Whole(new) if method == "strip" else new

    def note(self, rule: Rule[Any], verdict: Verdict, why: str) -> None:
        """Each rule's reason once: an answer may run for an hour."""
        reason = Reason(rule.id, rule.verb, verdict, why, rule.enforced)
        if reason not in self.decision.reasons:
            note(self.decision, reason)


class Ending(str):
    """Stands for a value that must not leave: the answer ends here."""

    refusal: Refusal

    def __new__(cls, refusal: Refusal) -> Ending:
        made = super().__new__(cls, "")
        made.refusal = refusal
        return made


class Reacting:
    """A scanner whose replacements are the rules' reactions.

    What a model sees in a text that has left in part is no replacement; it ends the answer all
    the same, before anything more of it leaves.
    """

    def __init__(self, scanner: ChannelScanner, reaction: Reaction | None = None) -> None:
        self.scanner = scanner
        self.reaction = reaction
        self.left = 0  # what was let go before this step

    def feed(self, text: str) -> ScanStep:
        return self.heeded(self.scanner.feed(text))

    def finish(self) -> ScanStep:
        return self.heeded(self.scanner.finish())

    def heeded(self, step: ScanStep) -> ScanStep:
        left, self.left = self.left, step.settled
        ending = self.reaction.ending if self.reaction is not None else None
        if ending is None and not step.replacements:
            return step
        kept = [one for one in step.replacements if not isinstance(one.text, Kept)]
        for one in kept:
            if isinstance(one.text, Ending) and step.stop is None:
                return ScanStep(kept, step.settled, one.text.refusal, before_stop=one.start)
        if ending is not None and step.stop is None:
            return ScanStep(kept, step.settled, ending, before_stop=left)
        return ScanStep(kept, step.settled, step.stop, step.before_stop)


class Wavering:
    """Looks, as an answer grows, whether its model is sure of it. Holds nothing back."""

    def __init__(self, call: Call, react: Callable[[Finding, str], str]) -> None:
        self.call = call
        self.react = react
        self.length = 0

    def feed(self, text: str) -> ScanStep:
        self.length += len(text)
        answer = self.call.exchange.answer
        if answer is not None and answer.logprob_count >= UNSURE_TOKENS_MIN:
            mean = answer.logprob
            if mean is not None and mean < LOW_LOGPROB_MEAN:
                self.react(UNSURE, "")
        return ScanStep([], self.length)

    def finish(self) -> ScanStep:
        return self.feed("")


class Marking:
    """Sets a whole text off as data; it is held until its end, as the mark depends on it.

    Only what tools answer is marked, and that comes whole.
    """

    def __init__(
        self, scanner: ChannelScanner, rules: Sequence[Rule[Any]], reaction: Reaction
    ) -> None:
        self.scanner = scanner
        self.rules = rules
        self.reaction = reaction
        self.text: list[str] = []
        self.replacements: list[Replacement] = []

    def feed(self, text: str) -> ScanStep:
        self.text.append(text)
        step = self.scanner.feed(text)
        self.replacements += step.replacements
        return ScanStep([], 0, step.stop)

    def finish(self) -> ScanStep:
        step = self.scanner.finish()
        text = "".join(self.text)
        changes = [
            (one.start, one.end, one.text) for one in (*self.replacements, *step.replacements)
        ]
        marks = self.marks(text)
        if marks is not None and text:
            # At least one character is replaced: a stream has no place for what is put between.
            head, tail = (0, 1, text[0]), (len(text) - 1, len(text), text[-1])
            changes = merge([*changes, head, tail] if len(text) > 1 else [*changes, head])
            first, last = changes[0], changes[-1]
            changes[0] = (first[0], first[1], marks[0] + first[2])
            last = changes[-1]
            changes[-1] = (last[0], last[1], last[2] + marks[1])
        return ScanStep([Replacement(*one) for one in changes], step.settled, step.stop)

    def marks(self, text: str) -> tuple[str, str] | None:
        """The mark around the text, where an enforced rule wants one."""
        reaction, found = self.reaction, self.reaction.found
        wanting = [r for r in self.rules if r.act.marks_all or any(wants(r, one) for one in found)]
        if not wanting or not is_prose(text):
            return None
        for rule in wanting:
            reaction.note(rule, "edit", "the answer is set off as data")
        enforced = any(rule.enforced for rule in wanting)
        return marks_of(text, reaction.state) if enforced else None


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
    """Several scanners over one channel: all see all, the slowest decides what may leave.

    A replacement waits until all have settled what it covers; of two that overlap the first
    one's text stands.
    """

    def __init__(self, scanners: Sequence[ChannelScanner]) -> None:
        self.scanners = scanners
        self.waiting: list[Replacement] = []

    def feed(self, text: str) -> ScanStep:
        return self.merged([scanner.feed(text) for scanner in self.scanners])

    def finish(self) -> ScanStep:
        return self.merged([scanner.finish() for scanner in self.scanners])

    def merged(self, steps: list[ScanStep]) -> ScanStep:
        new = [one for step in steps for one in step.replacements]
        settled = min(step.settled if step.stop is None else step.before_stop for step in steps)
        stop = next((step.stop for step in steps if step.stop is not None), None)
        if not new and not self.waiting:
            return ScanStep([], settled, stop, settled)
        waiting = [(one.start, one.end, one.text) for one in (*self.waiting, *new)]
        one_by_one = [Replacement(*change) for change in merge(waiting)]
        late = next((one for one in one_by_one if one.end > settled), None)
        if late is not None:
            settled = min(settled, late.start)
        ready = [one for one in one_by_one if one.end <= settled]
        self.waiting = one_by_one[len(ready) :]
        return ScanStep(ready, settled, stop, settled)
