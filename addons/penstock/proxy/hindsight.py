"""Secrets found after they had left: texts handed to the second look, values known from then on.

One per Governance. Nothing of it runs where the policy says ``second_look: none``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from penstock.detect.hindsight.remembered import Remembered
from penstock.detect.hindsight.second_look import SecondLook, Texts
from penstock.detect.probe import Probe
from penstock.exchange import Leaf, Zone
from penstock.policy.policy import Policy
from penstock.proxy.call import LiveCall
from penstock.wire.edits import merge

if TYPE_CHECKING:
    from penstock.proxy.governance import Governance

Place = tuple[object, ...]


class Hindsight:
    """The second look as the policy wants it, and what was learned by it."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self.remembered = Remembered(governance.keys.digest)
        self.second_look: SecondLook | None = None
        self.learned = False  # texts that were searched may hold a secret that is known now

    def probes(self, policy: Policy) -> tuple[Probe, ...]:
        """What finds remembered values."""
        return (self.remembered.probe(),) if policy.second_look == "remember" else ()

    def adopt(self, policy: Policy) -> None:
        """Begin or end looking at texts that have left."""
        wanted = policy.second_look != "none"
        if wanted and self.second_look is None:
            self.second_look = SecondLook(
                self.governance.keys.digest,
                known=lambda text, zone: self.governance.quick.scan(text, zone),
                tell=self.governance.recorder.late,
                learn=self.learn,
            )
        elif not wanted:
            self.close(seconds=0)

    def learn(self, value: str) -> bool:
        """Find this value from now on, in texts known already from ``refresh`` on."""
        if self.governance.policy.second_look != "remember":
            return False
        self.learned = self.remembered.learn(value) or self.learned
        return self.remembered.can_hold(value)

    def refresh(self) -> None:
        """Once a second: search with what was learned, and without what is too old."""
        self.remembered.expire()
        if self.learned:
            self.learned = False
            self.governance.search_anew()

    def look_at(self, live: LiveCall) -> None:
        """Have the texts of a call looked at that was let go."""
        if self.second_look is not None and live.decision.verdict != "deny":
            texts = texts_that_left(live)
            if texts:
                self.second_look.look(live.call.id, texts)

    def close(self, seconds: float) -> None:
        """Look at what waits, for so long at most."""
        ended, self.second_look = self.second_look, None
        if ended is not None:
            ended.close(seconds)


def texts_that_left(live: LiveCall) -> Texts:
    """Each text with its zone; a line break stands where something was taken out or put in."""
    cuts: defaultdict[Place, list[tuple[int, int, str]]] = defaultdict(list)
    for edit in live.decision.edits:
        cuts[place(edit.leaf)].append((edit.start, edit.end, "\n"))
    found: list[tuple[str, Zone]] = []
    for leaf in live.call.exchange.leaves:
        if leaf.text and not leaf.blob and not leaf.is_key:
            found.append((without(leaf.text, cuts.get(place(leaf), [])), leaf.zone))
    return found


def place(leaf: Leaf) -> Place:
    return leaf.path, leaf.span


def without(text: str, cuts: list[tuple[int, int, str]]) -> str:
    """The text with its cuts made; the plug-ins read line by line, and not over a cut."""
    if not cuts:
        return text
    kept, at = [], 0
    for start, end, replacement in merge(cuts):
        kept += [text[at:start], replacement]
        at = end
    return "".join([*kept, text[at:]])
