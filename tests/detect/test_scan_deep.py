"""``penstock scan --deep``: detect-secrets' own plug-ins confirm findings and add candidates."""

from __future__ import annotations

import json
import socket
import sys

import pytest
from click.testing import CliRunner, Result

from penstock.cli.scan import command as scan
from penstock.detect import Detectors
from penstock.detect.calls import CANDIDATE
from penstock.detect.hindsight.plugins import looked_at_again

KEY = "AKIA" + "QRSTUVWX2345MNOP"
# A Softlayer user's key, as its plug-in knows it: a form our rules have no name for.
RANDOM = "x" + "Jq3vT9bLw2Rk7Zp5Nf8Hc4Md6Gs1Yx" * 2


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(scan, arguments, input=given)


def test_what_both_see_is_one_finding_and_surer() -> None:
    text = f"key {KEY} ok"
    (before,) = Detectors(["secret"]).scan(text)
    (after,) = looked_at_again(text, [before])
    assert (after.type, after.start, after.end) == (before.type, before.start, before.end)
    assert after.score >= before.score
    assert after.detector == f"{before.detector}+detect-secrets:AWSKeyDetector"


def test_what_a_plug_in_alone_sees_is_a_candidate_at_its_place() -> None:
    text = f"one line\nblob = '{RANDOM}'\nlast"
    assert Detectors(["secret"]).scan(text) == []
    (found,) = looked_at_again(text, [])
    assert text[found.start : found.end] == RANDOM
    assert found.type == CANDIDATE
    assert found.score < 0.4


def test_personal_data_is_not_confirmed_by_plug_ins_for_secrets() -> None:
    text = "write to olga@posta.lu"
    found = Detectors(["pii"]).scan(text)
    assert looked_at_again(text, found) == found


def test_the_command_prints_candidates_and_never_their_text() -> None:
    plain = run("--find", "secret", given=f"blob = '{RANDOM}'")
    deep = run("--deep", "--find", "secret", given=f"blob = '{RANDOM}'")
    assert (plain.exit_code, deep.exit_code) == (0, 1)
    assert CANDIDATE in deep.output
    assert RANDOM not in deep.output
    lines = run("--deep", "--jsonl", given=json.dumps({"id": 1, "text": KEY}) + "\n")
    assert "detect-secrets:AWSKeyDetector" in lines.output


def test_only_the_wanted_types_are_looked_for() -> None:
    assert run("--deep", "--find", "pii", given=f"blob = '{RANDOM}'").exit_code == 0


def test_nothing_is_sent_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-ins could ask the vendor whether a key works; they are not let."""

    def refuse(*_: object) -> None:
        raise AssertionError("a plug-in opened a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = looked_at_again(f"key {KEY} and xoxb-123456789012-abcdefGHIJKL", [])
    assert found


@pytest.mark.parametrize("text", ["", "\n\n\n", "a" * 1_000_000, "é\n" * 1000, "'" * 5000])
def test_odd_texts_pass(text: str) -> None:
    looked_at_again(text, [])


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from penstock.detect.hindsight.plugins import plugins

    plugins.cache_clear()
    monkeypatch.setitem(sys.modules, "detect_secrets.core.plugins.util", None)
    result = run("--deep", given="text")
    assert result.exit_code == 2
    assert "penstock[deep]" in result.output
