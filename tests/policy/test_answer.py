"""What comes back: response rules and originals put back, plain and streamed alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import NOON, call, policy_of

from penstock.exchange import Leaf
from penstock.policy.answer import answer_scanner
from penstock.policy.decide import decide, decide_answer
from penstock.policy.decision import Decision
from penstock.policy.offline.dry_state import DryState
from penstock.policy.policy import Policy
from penstock.wire.edits import apply
from penstock.wire.family import Channel

JANE = "jane.roe@acme-widgets.com"
JOHN = "john.doe@acme-widgets.com"
BOTH = "  - {id: mail, redact: {find: [pii.email], in: [both], with: %s}}"
CHANNEL = Channel((0, "content"), "assistant")


def plain(policy: Policy, state: DryState, text: str) -> tuple[str, Decision]:
    """The answer as it arrives when it comes in one piece."""
    decision = decide_answer(policy, call(), [Leaf((), text, "assistant")], state, NOON)
    return apply(text.encode(), decision.edits).decode(), decision


def streamed(policy: Policy, state: DryState, pieces: list[str]) -> tuple[str, Decision]:
    """The answer as it arrives when it comes in ``pieces``; cut where a rule ends it."""
    decision = Decision()
    scanner_for = answer_scanner(policy, call(), state, NOON, decision)
    if scanner_for is None:
        return "".join(pieces), decision
    scanner = scanner_for(CHANNEL)
    assert scanner is not None
    text, replacements, settled = "", [], 0
    for piece in [*pieces, None]:
        step = scanner.finish() if piece is None else scanner.feed(piece)
        text += piece or ""
        replacements += step.replacements
        assert settled <= step.settled <= len(text)
        settled = step.settled
        if step.stop is not None:
            return "", decision
    out, at = "", 0
    for one in sorted(replacements, key=lambda one: one.start):
        out += text[at : one.start] + one.text
        at = one.end
    return out + text[at:], decision


def sent(policy: Policy, state: DryState, text: str) -> str:
    """The request's text as it leaves."""
    leaf = Leaf((), text, "user")
    decision = decide(policy, call(leaves=[leaf]), state, NOON)
    return apply(text.encode(), decision.edits).decode()


def test_untouched_policy_leaves_streams_alone(tmp_path: Path) -> None:
    """No response rule and nothing to restore: there is no scanner at all."""
    policy = policy_of(tmp_path, "  - {id: a, redact: {find: [pii.email]}}")
    assert answer_scanner(policy, call(), DryState(policy), NOON, Decision()) is None


def test_original_comes_back_in_the_answer(tmp_path: Path) -> None:
    """The model sees the placeholder, the caller the original."""
    policy = policy_of(tmp_path, "  - {id: a, redact: {find: [pii.email]}}")
    state = DryState(policy)
    placeholder = sent(policy, state, JANE)
    assert JANE not in placeholder
    text, decision = plain(policy, state, f"I wrote to {placeholder}.")
    assert (text, decision.restored) == (f"I wrote to {JANE}.", 1)
    text, decision = streamed(policy, state, list(f"I wrote to {placeholder}."))
    assert (text, decision.restored) == (f"I wrote to {JANE}.", 1)


def test_callers_own_value_is_restored_and_a_new_one_redacted(tmp_path: Path) -> None:
    """With ``both``, what the caller knows comes back, what the model brings does not."""
    policy = policy_of(tmp_path, BOTH % "mask")
    state = DryState(policy)
    other = policy_of(tmp_path, BOTH % "placeholder")
    placeholder = sent(other, state, JANE)
    answer = f"{placeholder} and {JOHN}"
    expected = f"{JANE} and [pii.email]"
    assert plain(policy, state, answer)[0] == expected
    assert streamed(policy, state, list(answer))[0] == expected


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_stream_and_plain_answer_agree_for_any_split(tmp_path: Path, data: st.DataObject) -> None:
    """Wherever the provider cuts its events, the caller reads the same text."""
    policy = policy_of(tmp_path, BOTH % "mask")
    answer = f"Write to {JOHN}, or <{JANE}>; not to a@b. {JOHN}"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=8)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    text, decision = streamed(policy, DryState(policy), pieces)
    assert text == plain(policy, DryState(policy), answer)[0]
    assert JOHN not in text and JANE not in text
    assert [reason.rule for reason in decision.reasons] == ["mail"]
    assert len(decision.findings) == 3


def test_deny_ends_the_answer(tmp_path: Path) -> None:
    """A refusal in a running stream stops it; a plain answer is refused whole."""
    policy = policy_of(tmp_path, "  - {id: no, deny: {find: [pii.email], in: [response]}}")
    text, decision = streamed(policy, DryState(policy), ["the address is ", JOHN, " ok"])
    assert text == "" and decision.verdict == "deny" and decision.refusal is not None
    assert JOHN not in decision.refusal.message
    assert plain(policy, DryState(policy), f"it is {JOHN} ok")[1].verdict == "deny"


@pytest.mark.parametrize("mode", ["observe", "shadow"])
def test_watching_rule_lets_the_answer_pass_and_tells(tmp_path: Path, mode: str) -> None:
    """Found and counted, not touched."""
    rules = "  - {id: no, deny: {find: [pii.email], in: [response]}}\n" + BOTH % "mask"
    policy = policy_of(tmp_path, rules, f"mode: {mode}")
    answer = f"it is {JOHN} ok"
    for text, decision in (
        streamed(policy, DryState(policy), [answer]),
        plain(policy, DryState(policy), answer),
    ):
        assert text == answer
        assert (decision.verdict, decision.would) == ("allow", "deny")
        assert [one.finding.type for one in decision.findings] == ["pii.email"]


def test_request_rules_do_not_read_answers(tmp_path: Path) -> None:
    """``in: [request]`` is the default and means it."""
    policy = policy_of(tmp_path, "  - {id: a, deny: {find: [pii.email]}}")
    text, decision = plain(policy, DryState(policy), f"it is {JOHN}")
    assert text == f"it is {JOHN}" and decision.reasons == []


def test_rule_of_another_destination_does_not_read_this_answer(tmp_path: Path) -> None:
    """A deny rule narrowed to a provider reads that provider's answers only."""
    rules = "  - {id: a, deny: {find: [pii.email], in: [response], providers: [mistral]}}"
    policy = policy_of(tmp_path, rules)
    assert plain(policy, DryState(policy), JOHN)[1].verdict == "allow"
    assert streamed(policy, DryState(policy), [JOHN])[0] == JOHN
