"""The policy's own detectors, and what it calls harmless."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest
from making import NOON, call

from penstock.detect import Detectors
from penstock.detect.custom import Custom, custom_probe, problem_of
from penstock.detect.stream import scanner
from penstock.exchange import Finding
from penstock.policy.decide import decide
from penstock.policy.language.detectors import Ignore
from penstock.policy.language.load import load
from penstock.policy.language.problem import ConfigError
from penstock.policy.offline.dry_state import DryState

POLICY = """version: 1
detectors:
  - id: badge
    pattern: 'BDG-([0-9]{6})'
    keywords: [badge, employee]
    example: 'my badge is BDG-004711'
rules:
  - id: no-badges
    redact: {find: [custom.badge, pii.email], with: mask}
"""


def loaded(folder: Path, text: str):  # type: ignore[no-untyped-def]
    path = folder / "p.yaml"
    path.write_text(text)
    return load([path])


def problems(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        loaded(folder, text)
    return str(raised.value)


def test_a_detector_of_the_policy_is_found_where_its_keyword_is_near(tmp_path: Path) -> None:
    state = DryState(loaded(tmp_path, POLICY))
    (found,) = state.findings("my badge: BDG-123456", "user")
    assert (found.type, found.start, found.end) == ("custom.badge", 14, 20)
    assert not state.findings("order BDG-123456", "user")


def test_a_stream_holds_a_value_of_a_custom_detector_together() -> None:
    probe = custom_probe(Custom("badge", "BDG-[0-9]{6}", "BDG-004711"))
    growing = scanner(Detectors(["custom.badge"], [probe]), ["custom.badge"], lambda f, v: "X")
    steps = [growing.feed(piece) for piece in ("see BDG-", "123", "456 now")]
    assert [step.settled for step in steps[:2]] == [4, 4]
    assert [r.text for step in (*steps, growing.finish()) for r in step.replacements] == ["X"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("BDG-([0-9]{6})", "BDG-([0-9]{6}"), "no valid re2 pattern"),
        (("BDG-004711", "BDG-47"), "its example is not found"),
        (("BDG-([0-9]{6})", "[0-9]*"), "matches the empty text"),
        (("id: badge", "id: Badge!"), "small letters"),
        (("custom.badge,", "custom.bagde,"), "did you mean 'custom.badge'"),
    ],
)
def test_a_wrong_detector_is_an_error_that_says_why(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    assert says in problems(tmp_path, POLICY.replace(*change))


def test_a_pattern_that_runs_away_is_stopped_and_the_rest_is_reported() -> None:
    slow = Custom("slow", r"(a|aa)+(?=\d)$", "aaa", engine="regex")
    assert problem_of(slow) is not None
    probe = custom_probe(Custom("slow", r"(?:a|aa)+(?=!)", "aa!", engine="regex"))
    begin = time.process_time()
    found = Detectors(["custom.slow"], [probe]).scan("a" * 4000)
    assert time.process_time() - begin < 2
    assert [f.type for f in found] == ["leakage.unscannable"]


IGNORE = """ignore:
  - pattern: '.*@intern\\.penstock\\.dev'
    types: [pii.email]
    reason: role addresses
    until: 2027-01-31
"""


def test_an_ignored_finding_counts_until_its_day_is_over() -> None:
    entry = Ignore("known", date(2027, 1, 31), pattern=".*@a\\.dev")
    finding = Finding("pii.email", 0, 7, 0.9, "pii.email")
    assert entry.covers(finding, "bob@a.dev", "", 1_801_440_000 - 86_400)
    assert not entry.covers(finding, "bob@a.dev", "", 1_801_440_000 + 86_400)
    assert not entry.covers(finding, "bob@b.dev", "", 0)


def test_a_value_is_ignored_by_its_keyed_hash_alone() -> None:
    entry = Ignore("known", date(2027, 1, 31), digest="0" * 16)
    finding = Finding("pii.email", 0, 7, 0.9, "pii.email")
    assert entry.covers(finding, "bob@a.dev", "0" * 16, 0)
    assert not entry.covers(finding, "bob@a.dev", "1" * 16, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("    reason: role addresses\n", ""), "'reason' is missing"),
        (("2027-01-31", "soon"), "a day is written"),
        (("'.*@intern", "'(.*@intern"), "no valid RE2"),
        (("pattern: '.*@intern\\.penstock\\.dev'\n    types", "types"), "either 'pattern' or"),
    ],
)
def test_an_allow_list_without_reason_day_or_pattern_is_an_error(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    assert says in problems(tmp_path, POLICY + IGNORE.replace(*change))


def test_no_rule_speaks_about_an_ignored_finding(tmp_path: Path) -> None:
    policy = loaded(tmp_path, POLICY + IGNORE)
    for text, edits in (("to team@intern.penstock.dev", 0), ("to bob@elsewhere.dev", 1)):
        decision = decide(policy, call(text), DryState(policy), NOON)
        assert len(decision.edits) == edits
