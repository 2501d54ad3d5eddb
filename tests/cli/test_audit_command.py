"""`penstock audit`: exit codes, the line named, filters, and nothing that drives a terminal."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from penstock.cli import main
from penstock.exchange import Caller, Destination, Workload
from penstock.policy.decision import Reason
from penstock.record.audit import AuditLog
from penstock.record.record import Record


def call(number: int, **changes) -> Record:
    values = {
        "id": f"c-{number}",
        "time": 1_781_956_800.0 + number,
        "caller": Caller(workload=Workload(name="shop")),
        "destination": Destination("api.openai.com", 443, "openai", "llm_api"),
        "mode": "enforce",
        "policy_hash": "p",
        "model": "gpt-4o",
        "status": 200,
    }
    return Record(**values | changes)


@pytest.fixture
def state_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_STATE_DIR", str(tmp_path))
    log = AuditLog(tmp_path)
    for number in range(4):
        log.record(call(number))
    reasons = [Reason("no-chat-apps", "deny", "deny", "no")]
    log.record(call(4, model="o3", verdict="deny", reasons=reasons, outcome="refused", status=403))
    log.close()
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(main, ["audit", *arguments])


def test_a_whole_log_is_said_and_exits_zero(state_dir):
    ran = run("verify")
    assert ran.exit_code == 0, ran.output
    assert "6 lines, seq 0 to 5: whole" in ran.output
    assert "vouches for the first 6 lines" in ran.output


def test_every_log_of_the_state_directory_is_read(state_dir):
    """Two processes at one time write two chains; calls are shown in the order of time."""
    first, second = AuditLog(state_dir), AuditLog(state_dir)
    first.record(call(20))
    second.record(call(10))
    first.close()
    second.close()
    ran = run("verify")
    assert ran.exit_code == 0 and "audit.jsonl: " in ran.output and "audit-2.jsonl: " in ran.output
    shown = [json.loads(line)["id"] for line in run("show", "--format", "json").output.splitlines()]
    assert shown[-2:] == ["c-10", "c-20"]
    log = state_dir / "audit-2.jsonl"
    log.write_bytes(log.read_bytes().replace(b"c-10", b"c-11"))
    assert run("verify").exit_code == 1
    assert run("verify", "--key", "k").exit_code == 2


def test_an_emptied_log_is_not_whole(tmp_path):
    """A log begins with a line: without head and checkpoint, nothing else would show it."""
    log = tmp_path / "audit.jsonl"
    log.write_bytes(b"")
    ran = run("verify", str(log))
    assert ran.exit_code == 1 and "it is empty" in ran.output


def test_orders_to_contain_are_shown(state_dir):
    log = AuditLog(state_dir)
    log.note("containment", {"state": "contained", "by": "Jo", "user": "jo", "reason": "INC-42"})
    log.close()
    ran = run("show", "--containment")
    assert ran.exit_code == 0 and "contained by Jo (jo)" in ran.output and "INC-42" in ran.output
    assert "INC-42" not in run("show").output
    assert run("show", "--containment", "--model", "x").exit_code == 2
    assert run("verify").exit_code == 0


def test_a_changed_line_is_named_and_exits_one(state_dir):
    log = state_dir / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"id":"c-1"', b'"id":"c-7"'))
    ran = run("verify", str(log))
    assert ran.exit_code == 1
    assert "audit.jsonl:3: changed" in ran.output
    found = json.loads(run("verify", str(log), "--format", "json").output)
    assert not found["whole"] and found["problems"][0]["line"] == 3


def test_a_cut_end_is_found_by_a_checkpoint_kept_elsewhere(state_dir, tmp_path_factory):
    kept = tmp_path_factory.mktemp("elsewhere") / "checkpoint"
    (state_dir / "audit.checkpoint").rename(kept)
    (state_dir / "audit.head.json").unlink()
    log = state_dir / "audit.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert run("verify", str(log)).exit_code == 0  # nothing beside the log knows its length
    ran = run("verify", str(log), "--checkpoint", str(kept))
    assert ran.exit_code == 1 and "cut" in ran.output


def test_a_forged_checkpoint_cannot_be_used(state_dir):
    note = state_dir / "audit.checkpoint"
    note.write_text(note.read_text().replace("\n6\n", "\n5\n"))
    ran = run("verify")
    assert ran.exit_code == 2 and "signature is wrong" in ran.output


def test_no_log_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_STATE_DIR", str(tmp_path))
    assert run("verify").exit_code == 2
    assert run("show").exit_code == 2


def test_calls_are_shown_as_a_table(state_dir):
    output = run("show").output
    assert "api.openai.com" in output and "gpt-4o" in output


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([], ["c-0", "c-1", "c-2", "c-3", "c-4"]),
        (["--verdict", "deny"], ["c-4"]),
        (["--model", "o*"], ["c-4"]),
        (["--host", "*.openai.com", "-n", "2"], ["c-3", "c-4"]),
        (["--rule", "no-*"], ["c-4"]),
        (["--app", "other"], []),
        (["--since", "2026-06-20T12:00:03+00:00"], ["c-3", "c-4"]),
        (["--finding", "secret.*"], []),
    ],
)
def test_filters_choose_the_calls(state_dir, filters, ids):
    lines = run("show", "--format", "json", *filters).output.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids


def test_a_time_that_is_none_is_a_usage_error(state_dir):
    assert run("show", "--since", "yesterday").exit_code == 2


def test_a_hostile_log_cannot_drive_the_terminal(state_dir):
    log = state_dir / "audit.jsonl"
    with log.open("ab") as file:
        hostile = {"type": "call", "model": "\x1b]0;owned\x07[red]x[/red]", "time": "now"}
        file.write(json.dumps(hostile).encode() + b"\n")
    output = run("show").output
    assert "\x1b]0" not in output and "\x07" not in output and "owned" in output
