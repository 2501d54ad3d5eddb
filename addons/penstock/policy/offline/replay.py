"""Recorded calls decided again: what would this policy have done, and what is different."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.exchange import Caller, Exchange, Usage
from penstock.policy.decision import Decision
from penstock.policy.offline.dry_state import DryState
from penstock.policy.offline.recorded import call_of, read_request
from penstock.policy.policy import Policy
from penstock.policy.state import Estimate
from penstock.policy.unreadable import decide_as_read
from penstock.wire.inspect import read_recorded_answer, recorded_answer

# Calls without a time of their own are decided one second apart from here on.
EPOCH = 1_767_614_400.0


@dataclass(slots=True, frozen=True)
class Decided:
    """One policy's word on one call."""

    verdict: str
    rules: tuple[str, ...]
    findings: tuple[str, ...]
    edits: int


@dataclass(slots=True, frozen=True)
class Row:
    """One recorded call. ``old`` is None without a policy to compare with."""

    id: str
    api: str
    model: str | None
    new: Decided
    old: Decided | None = None

    @property
    def changed(self) -> bool:
        """True when the two policies disagree, or, alone, when anything happens to the call."""
        if self.old is None:
            return self.new.verdict != "allow"
        return self.new != self.old


@dataclass(slots=True)
class Summary:
    """Counts over all rows; grows as rows pass."""

    calls: int = 0
    changed: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    denied_by: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    def count(self, row: Row) -> None:
        self.calls += 1
        self.changed += row.changed
        self.verdicts[row.new.verdict] += 1
        if row.new.verdict == "deny":
            self.denied_by.update(row.new.rules)


def replay(
    lines: Iterable[str], new: Policy, old: Policy | None, summary: Summary
) -> Iterator[Row]:
    """Decide each recorded line with ``new`` (and ``old``); unreadable lines are counted."""
    states = [DryState(policy) if policy else None for policy in (new, old)]
    for number, line in enumerate(lines):
        try:
            recorded = json.loads(line)
            request, problem = read_request(recorded["request"])
        except (ValueError, KeyError, TypeError):
            summary.unreadable += 1
            continue
        call_id = str(recorded.get("id", number + 1))
        expected = used(recorded, call_of(request, Caller(), call_id).exchange)
        decided: list[Decided | None] = []
        for policy, state in zip((new, old), states, strict=True):
            if policy is None or state is None:
                decided.append(None)
                continue
            call = call_of(request, Caller(), call_id)
            state.expected = expected
            now = EPOCH + number
            decision = decide_as_read(policy, call, request.body, problem, state, now)
            decided.append(words(decision))
        first = decided[0]
        assert first is not None  # the new policy is always there
        exchange = call_of(request, Caller(), call_id).exchange
        row = Row(call_id, exchange.api, exchange.model, first, decided[1])
        summary.count(row)
        yield row


def used(recorded: Mapping[str, Any], exchange: Exchange) -> Estimate | None:
    """The tokens the recorded answer reports; None without one: they are estimated."""
    if not isinstance(recorded.get("response"), dict):
        return None
    read_recorded_answer(exchange, recorded_answer(recorded["response"]))
    usage = exchange.answer.usage if exchange.answer else Usage()
    if usage.input_total is None and usage.output_total is None:
        return None
    return Estimate(usage.input_total or 0, usage.output_total or 0)


def words(decision: Decision) -> Decided:
    """What would happen with every rule enforced: a rule is replayed before it goes live."""
    rules = {reason.rule for reason in decision.reasons if reason.verdict == decision.would}
    return Decided(
        decision.would,
        tuple(sorted(rules)),
        tuple(sorted({one.finding.type for one in decision.findings})),
        len(decision.edits),
    )
