"""What only the call can tell about a text: the types of ``detect.calls``.

Made for one decision, and only where a rule names one of these types. ``leakage.canary``
is found by a detector like any other; here only the canary of this very destination is told
from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from penstock.detect.calls import CANARY, CONVERSATION, LOW_LOGPROB, REMEMBERED, SYSTEM_PROMPT
from penstock.detect.leakage.overlap import OverlapScanner, Prompt, prompt_of, repeated
from penstock.exchange import Finding, Leaf, Zone, matches_type
from penstock.policy.call import Call, kind_of
from penstock.policy.state import Kept, State
from penstock.wire.channel_text import ChannelScanner
from penstock.wire.family import Channel

Direction = str
React = Callable[[Finding, str], str]
Wrap = Callable[[ChannelScanner], ChannelScanner]

# What the other side says to people and to tools. Reasoning speaks of its instructions by nature.
SPOKEN: frozenset[Zone] = frozenset(("assistant", "tool_arguments", "refusal", "other"))
# Where a conversation has its values from; a tool's arguments are where they go to.
LEARNED: frozenset[Zone] = frozenset(
    ("system", "user", "assistant", "tool_result", "tool_definition", "other")
)
# Mean log probability of a token below which an answer counts as unsure: every second token
# could as well have been another.
LOW_LOGPROB_MEAN = -0.7


class Leaks:
    """The call's side of detection. ``types`` are those of ``CALL_TYPES`` some rule names."""

    def __init__(self, types: frozenset[str], call: Call, state: State) -> None:
        self.types = types
        self.call = call
        self.state = state
        self.of_model = kind_of(call) == "model"
        self._prompt: Prompt | None = None

    @property
    def prompt(self) -> Prompt | None:
        """The words of the call's system prompt; None when it is too short to be told."""
        if SYSTEM_PROMPT not in self.types or not self.of_model:
            return None
        if self._prompt is None:
            leaves = self.call.exchange.leaves
            said = [leaf.text for leaf in leaves if leaf.zone == "system" and not leaf.blob]
            self._prompt = prompt_of("\n".join(text for text in said if " " in text))
        return None if self._prompt.is_short else self._prompt

    def learn(self, leaves: Iterable[Leaf], direction: Direction) -> None:
        """Remember the values of what is sent to a model, and of what a tool answers."""
        if CONVERSATION not in self.types or self.of_model != (direction == "request"):
            return
        for leaf in leaves:
            if leaf.zone in LEARNED and leaf.text and not leaf.blob:
                for finding in self.state.findings(leaf.text, leaf.zone):
                    self.learned(finding, leaf.text[finding.start : finding.end], leaf.zone)

    def learned(self, finding: Finding, value: str, zone: Zone) -> None:
        """Remember one value, if it is one of those that are remembered."""
        if matches_type(REMEMBERED, finding.type):
            self.state.learn(finding.type, value, zone)

    def in_text(self, leaf: Leaf, found: Sequence[Finding], direction: Direction) -> list[Finding]:
        """What else is to be said of a leaf in which the detectors found ``found``."""
        more: list[Finding] = []
        if direction == "response" and leaf.zone in SPOKEN and self.prompt is not None:
            runs = repeated(self.prompt, leaf.text)
            more += [Finding(SYSTEM_PROMPT, low, high, 0.9, SYSTEM_PROMPT) for low, high in runs]
        if self.passes_on(leaf.zone, direction):
            more += [
                Finding(CONVERSATION, one.start, one.end, one.score, CONVERSATION)
                for one in found
                if matches_type(REMEMBERED, one.type)
                and self.state.knows(leaf.text[one.start : one.end])
            ]
        return more

    def passes_on(self, zone: Zone, direction: Direction) -> bool:
        """True for texts in which a value of the conversation is passed on."""
        if CONVERSATION not in self.types:
            return False
        if direction == "response":
            return self.of_model and zone in SPOKEN
        return not self.of_model and zone in ("tool_arguments", "other")

    def is_own_canary(self, finding: Finding, value: str) -> bool:
        """True for the canary of this destination in what is sent to it: an echo, no news."""
        if finding.type != CANARY or not self.of_model:
            return False
        return value.upper() == self.state.canary(self.call.destination.host)

    def scanners(self, channel: Channel, react: React) -> list[ChannelScanner]:
        """What reads one channel of a streamed answer besides the detectors."""
        found: list[ChannelScanner] = []
        if self.prompt is not None and channel.zone in SPOKEN:

            def repeats(start: int, end: int) -> str | None:
                text = react(Finding(SYSTEM_PROMPT, start, end, 0.9, SYSTEM_PROMPT), "")
                return None if isinstance(text, Kept) else text

            found.append(OverlapScanner(self.prompt, repeats))
        if self.passes_on(channel.zone, "response"):

            def passed(finding: Finding, value: str) -> str:
                if not self.state.knows(value):
                    return Kept(value)
                known = Finding(
                    CONVERSATION, finding.start, finding.end, finding.score, CONVERSATION
                )
                return react(known, value)

            found.append(self.state.scanner(REMEMBERED, passed, channel))
        elif CONVERSATION in self.types and not self.of_model and channel.zone in LEARNED:

            def heard(finding: Finding, value: str) -> str:
                self.learned(finding, value, channel.zone)
                return Kept(value)

            found.append(self.state.scanner(REMEMBERED, heard, channel))
        return found

    def uncertainty(self) -> Finding | None:
        """A finding about the whole answer, where its log probabilities are low."""
        answer = self.call.exchange.answer
        if LOW_LOGPROB not in self.types or answer is None or answer.logprob is None:
            return None
        if answer.logprob >= LOW_LOGPROB_MEAN:
            return None
        return Finding(LOW_LOGPROB, 0, 0, 0.5, LOW_LOGPROB)


def leaks_of(types: frozenset[str], call: Call, state: State) -> Leaks | None:
    """None where no rule names a type only the call can tell."""
    return Leaks(types, call, state) if types else None
