"""Policy tests: ``*_test.yaml`` beside the policy, decided by the same function as the traffic.

A file is a list of cases ``{name, policy, call | calls | file+line, expect}``. ``calls`` is a
sequence with ``at`` (seconds) for limits; ``uses`` is what a call takes from them, ``answer``
a text that comes back. ``expect`` names verdict, would, rules, edits, findings, refusal, and
what the body that leaves and the answer that arrives contain and lack.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from penstock.exchange import Caller, HttpRequest, Leaf
from penstock.policy.call import kind_of
from penstock.policy.decide import decide_answer
from penstock.policy.decision import Decision
from penstock.policy.language.load import load
from penstock.policy.language.shipped import resolve
from penstock.policy.offline.dry_state import DryState
from penstock.policy.offline.recorded import call_of, read_request
from penstock.policy.offline.shorthand import caller_from, request_from
from penstock.policy.policy import Policy
from penstock.policy.rules.tools import server_url
from penstock.policy.state import Estimate
from penstock.policy.unreadable import decide_as_read
from penstock.wire import edits

# A test file is written by hand.
FILE_BYTES_MAX = 4 * 1024 * 1024
# When a sequence starts: a Monday noon, so that conditions on time have a known answer.
EPOCH = 1_767_614_400.0

STEP_KEYS = {"call", "file", "line", "expect", "at", "uses", "answer"}
CASE_KEYS = {"name", "policy", "calls"} | STEP_KEYS
EXPECT_KEYS = (
    "verdict",
    "would",
    "rules",
    "edits",
    "findings",
    "refusal",
    "route",
    "body_contains",
    "body_lacks",
    "answer_verdict",
    "answer_contains",
    "answer_lacks",
)
USES_KEYS = {"input_tokens", "output_tokens", "usd"}


@dataclass(slots=True, frozen=True)
class Outcome:
    """One case: ``wrong`` says what differs, ``error`` why it could not run; both empty: passed."""

    file: str
    line: int
    name: str
    wrong: tuple[str, ...] = ()
    error: str = ""

    @property
    def passed(self) -> bool:
        return not self.wrong and not self.error


@dataclass(slots=True)
class Report:
    """All outcomes, and which rules of which policy a test reached."""

    outcomes: list[Outcome] = field(default_factory=list)
    rules: dict[str, set[str]] = field(default_factory=dict)  # policy file -> its rules
    reached: dict[str, set[str]] = field(default_factory=dict)

    def unreached(self) -> list[tuple[str, str]]:
        """(policy, rule) pairs no case reached."""
        return [
            (policy, rule)
            for policy, rules in sorted(self.rules.items())
            for rule in sorted(rules - self.reached.get(policy, set()))
        ]


def run_tests(paths: Iterable[Path]) -> Report:
    """Run every case of every test file below ``paths`` (files or folders)."""
    report = Report()
    for file in sorted(set(test_files(paths))):
        for outcome in run_file(file, report):
            report.outcomes.append(outcome)
    return report


def test_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (p for p in path.rglob("*_test.y*ml") if p.suffix in (".yaml", ".yml"))
        else:
            yield path


def run_file(file: Path, report: Report) -> Iterator[Outcome]:
    try:
        content = file.read_text(encoding="utf-8")
        if len(content) > FILE_BYTES_MAX:
            raise ValueError(f"larger than {FILE_BYTES_MAX} bytes")
        node = yaml.compose(content, Loader=yaml.SafeLoader)
        cases = yaml.safe_load(content)
    except (OSError, ValueError, yaml.YAMLError) as error:
        yield Outcome(str(file), 1, file.name, error=f"cannot be read: {error}")
        return
    if not isinstance(cases, list) or not isinstance(node, yaml.SequenceNode):
        yield Outcome(str(file), 1, file.name, error="a test file is a list of cases")
        return
    lines = [item.start_mark.line + 1 for item in node.value]
    for line, case in zip(lines, cases, strict=True):
        name = str(case.get("name", f"case in line {line}")) if isinstance(case, dict) else "?"
        try:
            yield Outcome(str(file), line, name, tuple(run_case(file.parent, case, report)))
        except (ValueError, OSError, KeyError, TypeError) as error:
            yield Outcome(str(file), line, name, error=str(error) or type(error).__name__)


def run_case(folder: Path, case: Any, report: Report) -> list[str]:
    """What differs from what the case expects, in words.

    Raises:
        ValueError: the case cannot be run, with the reason.
    """
    if not isinstance(case, dict) or not case.keys() >= {"name", "policy"}:
        raise ValueError("a case needs 'name' and 'policy'")
    policy = load_policy(folder, str(case["policy"]))
    key = policy.files[0]
    report.rules.setdefault(key, set()).update(rule.id for rule in policy.rules)
    reached = report.reached.setdefault(key, set())
    state, wrong = DryState(policy), []
    steps = case.get("calls", [case])
    if not isinstance(steps, list) or not steps or not all(isinstance(s, dict) for s in steps):
        raise ValueError("'calls' is a list of steps, each with 'call' and 'expect'")
    for number, step in enumerate(steps, 1):
        known = CASE_KEYS if step is case else STEP_KEYS
        if unknown := step.keys() - known:
            raise ValueError(f"unknown key '{min(unknown)}'; allowed: {', '.join(sorted(known))}")
        request, caller, problem = requested(folder, step)
        call = call_of(request, caller, f"test-{number}")
        now = EPOCH + float(step.get("at", 0))
        state.expected = used(step.get("uses"))
        decision = decide_as_read(policy, call, request.body, problem, state, now)
        reached |= rules_reached(policy, call, decision)
        found = list(differences(step.get("expect"), decision, request))
        if "answer" in step and decision.verdict != "deny":
            answered = Leaf((), str(step["answer"]), "assistant")
            judged = decide_answer(policy, call, [answered], state, now)
            reached |= {reason.rule for reason in judged.reasons}
            found += answer_differences(step["expect"], judged, answered)
        prefix = f"call {number}: " if len(steps) > 1 else ""
        wrong += [prefix + text for text in found]
    return wrong


def used(uses: Any) -> Estimate | None:
    """What a step says its call takes from limits; None leaves it to the estimator."""
    if uses is None:
        return None
    if not isinstance(uses, dict) or uses.keys() - USES_KEYS:
        raise ValueError(f"'uses' is a mapping of {', '.join(sorted(USES_KEYS))}")
    return Estimate(
        int(uses.get("input_tokens", 0)),
        int(uses.get("output_tokens", 0)),
        Decimal(str(uses.get("usd", 0))),
    )


def answer_differences(expect: Any, decision: Decision, leaf: Leaf) -> Iterator[str]:
    """What of ``expect`` the answer does not fulfil, placeholders put back."""
    want = expect.get("answer_verdict", decision.verdict)
    if want != decision.verdict:
        got = decision.verdict + because(decision, "verdict")
        yield f"answer_verdict: expected {want}, got {got}"
    arrives = edits.apply(leaf.text.encode(), decision.edits).decode()
    for text in as_list(expect.get("answer_contains")):
        if str(text) not in arrives:
            yield f"answer_contains: {text!r} is not in the answer that would arrive"
    for text in as_list(expect.get("answer_lacks")):
        if str(text) in arrives:
            yield f"answer_lacks: {text!r} is in the answer that would arrive"


def load_policy(folder: Path, name: str) -> Policy:
    beside = folder / name
    return load(resolve([beside if beside.is_file() else name]))


def requested(folder: Path, step: Mapping[str, Any]) -> tuple[HttpRequest, Caller, str | None]:
    """The request and caller of a step, and why its body cannot be read.

    In short-hand, or a line of a recording.
    """
    if "call" in step:
        return request_from(step["call"]), caller_from(step["call"]), None
    if "file" not in step:
        raise ValueError("a case needs 'call' (short-hand) or 'file' and 'line' (recorded)")
    place = f"{step['file']}:{step.get('line', 1)}"
    try:
        line = recorded_line(folder / str(step["file"]), int(step.get("line", 1)))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{step['file']} cannot be read: {error}") from error
    try:
        recorded = json.loads(line)
        request, problem = read_request(recorded["request"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{place} is no recorded exchange: it has no 'request'") from error
    except ValueError as error:
        raise ValueError(f"{place} is no recorded exchange: {error}") from error
    return request, Caller(), problem


def recorded_line(file: Path, wanted: int) -> bytes:
    """One line of a recording, plain or gzipped."""
    with file.open("rb") as raw:
        lines = gzip.open(raw) if file.suffix == ".gz" else raw  # noqa: SIM115  closed with raw
        for number, line in enumerate(lines, 1):
            if number == wanted:
                return line
    raise ValueError(f"{file.name} has no line {wanted}")


def rules_reached(policy: Policy, call: Any, decision: Decision) -> set[str]:
    """Rules that spoke, let something through, or held room."""
    reached = {reason.rule for reason in decision.reasons}
    reached |= {claim.rule for held in decision.reservations for claim in held.claims}
    kind = kind_of(call)
    for rule in policy.allows:
        if rule.act.covers(kind) and rule.act.admits(call):
            reached.add(rule.id)
    for tools in policy.tools:
        mcp = call.exchange.mcp
        used = mcp is not None and (mcp.tool or mcp.resource_uri or mcp.prompt)
        if used and tools.act.speaks_of(server_url(call)):
            reached.add(tools.id)
    return reached


def differences(expect: Any, decision: Decision, request: HttpRequest) -> Iterator[str]:
    """What of ``expect`` the decision does not fulfil."""
    if not isinstance(expect, dict) or not expect:
        raise ValueError(f"'expect' is a mapping of {', '.join(EXPECT_KEYS)}")
    if unknown := expect.keys() - set(EXPECT_KEYS):
        raise ValueError(
            f"unknown key '{min(unknown)}' in expect; allowed: {', '.join(EXPECT_KEYS)}"
        )
    spoke = sorted({reason.rule for reason in decision.reasons})
    found: dict[str, Any] = {
        "verdict": decision.verdict,
        "would": decision.would,
        "rules": spoke,
        "edits": len(decision.edits),
        "findings": sorted({one.finding.type for one in decision.findings}),
    }
    for name, got in found.items():
        if name not in expect:
            continue
        want = sorted(expect[name]) if isinstance(got, list) else expect[name]
        if want != got:
            yield f"{name}: expected {want}, got {got}{because(decision, name)}"
    if "route" in expect:
        goes = {one.destination.host for one in decision.route.choices} if decision.route else set()
        if set(as_list(expect["route"])) != goes:
            yield f"route: expected {as_list(expect['route'])}, got {sorted(goes)}"
    yield from refusal_differences(expect.get("refusal") or {}, decision)
    if "body_contains" in expect or "body_lacks" in expect:
        body = edits.apply(request.body, decision.edits).decode("utf-8", "replace")
        for text in as_list(expect.get("body_contains")):
            if str(text) not in body:
                yield f"body_contains: {text!r} is not in the body that would leave"
        for text in as_list(expect.get("body_lacks")):
            if str(text) in body:
                yield f"body_lacks: {text!r} is in the body that would leave"


def because(decision: Decision, name: str) -> str:
    """The reasons, where a verdict is not the expected one."""
    if name not in ("verdict", "rules") or not decision.reasons:
        return ""
    return "; " + "; ".join(f"{reason.rule}: {reason.message}" for reason in decision.reasons)


def refusal_differences(expect: Mapping[str, Any], decision: Decision) -> Iterator[str]:
    refusal = decision.refusal
    for name, want in expect.items():
        if name not in ("status", "code", "rule", "message", "form"):
            raise ValueError(f"unknown key '{name}' in refusal: status, code, rule, message, form")
        got = getattr(refusal, name) if refusal is not None else None
        fits = str(want) in str(got) if name == "message" else want == got
        if not fits:
            yield f"refusal.{name}: expected {want!r}, got {got!r}"


def as_list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
