"""The audit log: every kind of damage is found, every restart continues the chain."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.record import audit
from penstock.record.audit import AuditLog, rotated_files
from penstock.record.checkpoint import load_key, parse_verifier_key, sign
from penstock.record.checkpoint import verify as verify_note
from penstock.record.verify import head_of, verify


@pytest.fixture
def log(tmp_path, record):
    """The path of a closed log of one start line and ten calls."""
    audit_log = AuditLog(tmp_path)
    for number in range(10):
        audit_log.record(record(id=f"c-{number}"))
    audit_log.close()
    return audit_log.path


def kinds(log: Path, **arguments) -> list[tuple[int, str]]:
    return [(one.line, one.kind) for one in verify([log], **arguments).problems]


def test_a_log_that_nobody_touched_is_whole(log):
    report = verify([log], head=head_of(log))
    assert report.whole
    assert (report.lines, report.first_seq, report.last_seq) == (11, 0, 10)


def test_a_line_has_the_call_and_no_empty_fields(log):
    line = json.loads(log.read_bytes().splitlines()[1])
    assert line["destination"] == {
        "host": "api.openai.com",
        "port": 443,
        "provider": "openai",
        "category": "llm_api",
    }
    assert line["cost_usd"] == "0.00472"
    assert line["usage"] == {"input": 1200, "output": 300, "cache_read": 1024, "reasoning": 128}
    assert line["findings"][0]["type"] == "pii.email"
    assert line["time"] == "2026-06-20T12:00:00.250Z"
    assert "error" not in line and "mcp" not in line


def test_one_changed_digit_is_found_and_the_line_named(log):
    lines = log.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"status":200', b'"status":201')
    log.write_bytes(b"".join(lines))
    assert kinds(log) == [(5, "changed")]


def test_a_removed_line_is_found(log):
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:4] + lines[5:]))
    assert kinds(log) == [(5, "missing")]


def test_a_repeated_line_is_found(log):
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:5] + lines[4:]))
    assert kinds(log) == [(6, "misplaced")]


def test_swapped_lines_are_found(log):
    lines = log.read_bytes().splitlines(keepends=True)
    lines[4], lines[5] = lines[5], lines[4]
    log.write_bytes(b"".join(lines))
    assert (5, "missing") in kinds(log)


def test_a_cut_end_is_found_by_the_head_file(log):
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-2]))
    assert kinds(log, head=head_of(log)) == [(9, "cut")]


def test_a_changed_last_line_is_found_by_the_head_file(log):
    log.write_bytes(log.read_bytes().replace(b'"id":"c-9"', b'"id":"c-8"'))
    assert kinds(log) == []
    assert kinds(log, head=head_of(log)) == [(11, "changed")]


def test_a_line_cut_in_the_middle_is_found(log):
    log.write_bytes(log.read_bytes()[:-20])
    assert (11, "torn") in kinds(log)


def test_a_line_that_is_not_json_is_found(log):
    lines = log.read_bytes().splitlines(keepends=True)
    lines[3] = b"\xff\x00 not json\n"
    log.write_bytes(b"".join(lines))
    assert (4, "unreadable") in kinds(log)


def test_a_log_rewritten_as_a_whole_is_found_by_its_signed_checkpoint(log, record, tmp_path):
    """Who can write the file can make a perfect chain; not one that was signed before."""
    note = log.with_suffix(".checkpoint").read_text()
    key = load_key(tmp_path / "audit.key").public_key()
    assert verify([log], checkpoint=verify_note(note, key)).proved == 11
    forged = AuditLog(tmp_path / "elsewhere")
    for number in range(10):
        forged.record(record(id=f"c-{number}", status=201))
    forged.close()
    problems = verify([forged.path], checkpoint=verify_note(note, key)).problems
    assert [one.kind for one in problems] == ["rewritten"]


def test_the_log_announces_the_key_its_checkpoints_are_signed_with(log):
    report = verify([log])
    origin, key = parse_verifier_key(report.key)
    assert verify_note(log.with_suffix(".checkpoint").read_text(), key, origin).size == 11


def test_a_checkpoint_signed_by_another_key_is_refused(log, tmp_path):
    key = load_key(tmp_path / "audit.key").public_key()
    note = sign(load_key(tmp_path / "other.key"), 11, b"0" * 32)
    with pytest.raises(ValueError, match="not signed by this key"):
        verify_note(note, key)
    edited = log.with_suffix(".checkpoint").read_text().replace("\n11\n", "\n10\n")
    with pytest.raises(ValueError, match="signature is wrong"):
        verify_note(edited, key)


def test_a_restart_continues_the_chain(log, record):
    second = AuditLog(log.parent)
    second.record(record())
    second.close()
    report = verify([log], head=head_of(log))
    assert report.whole and report.lines == 13


def test_a_restart_without_a_head_file_continues_the_chain(log, record):
    log.with_suffix(".head.json").unlink()
    AuditLog(log.parent).close()
    report = verify([log], head=head_of(log))
    assert report.whole and report.lines == 12


def test_after_a_crash_lines_the_head_does_not_know_yet_stay_in_the_chain(tmp_path, record):
    first = AuditLog(tmp_path)
    first.record(record())
    first.flush()
    first.record(record())
    os.close(first._file)  # the process dies here: no close, no flush
    os.close(first._lock)
    AuditLog(tmp_path).close()
    report = verify([first.path], head=head_of(first.path))
    assert report.whole and report.lines == 4


def test_a_line_torn_by_a_crash_is_cut_off_and_said(log):
    with log.open("ab") as file:
        file.write(b'{"seq":11,"prev":"ab')
    AuditLog(log.parent).close()
    assert verify([log], head=head_of(log)).whole
    assert json.loads(log.read_bytes().splitlines()[-1])["torn_bytes"] == 20


def test_a_log_shortened_while_nothing_ran_keeps_its_gap_after_the_restart(log):
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-3]))
    AuditLog(log.parent).close()
    assert kinds(log, head=head_of(log))[0] == (9, "missing")


def test_a_file_that_is_no_log_is_put_aside_as_it_was(tmp_path):
    (tmp_path / "audit.jsonl").write_bytes(b"hello\n")
    AuditLog(tmp_path).close()
    aside = list(tmp_path.glob("audit.unreadable-*.jsonl"))
    assert aside[0].read_bytes() == b"hello\n"
    assert verify([tmp_path / "audit.jsonl"]).whole


def test_rotated_files_are_one_chain_and_a_bounded_number(tmp_path, record):
    audit_log = AuditLog(tmp_path, rotate_bytes=4000, files_kept=3)
    for number in range(60):
        audit_log.record(record(id=f"c-{number}"))
    audit_log.close()
    old = rotated_files(audit_log.path)
    assert len(old) == 3
    key = load_key(tmp_path / "audit.key").public_key()
    checkpoint = verify_note(audit_log.path.with_suffix(".checkpoint").read_text(), key)
    report = verify([*old, audit_log.path], checkpoint, head_of(audit_log.path))
    assert report.whole and report.first_seq > 0 and report.proved == checkpoint.size
    assert verify([old[0], audit_log.path]).problems[0].kind == "missing"


def test_a_crash_in_the_middle_of_a_rotation_leaves_one_chain(tmp_path, record):
    first = AuditLog(tmp_path, rotate_bytes=2000)
    for _ in range(3):
        first.record(record())
    assert len(rotated_files(first.path)) > 0
    first.path.rename(tmp_path / ".audit.next")  # as if the last rename had not come
    os.close(first._lock)
    second = AuditLog(tmp_path)
    second.record(record())
    second.close()
    files = [*rotated_files(second.path), second.path]
    assert verify(files, head=head_of(second.path)).whole


def test_a_crash_after_a_rotation_before_any_flush_leaves_one_chain(tmp_path, record):
    first = AuditLog(tmp_path, rotate_bytes=2000)
    first.flush()
    for _ in range(3):
        first.record(record())
    os.close(first._lock)
    second = AuditLog(tmp_path)
    second.close()
    files = [*rotated_files(second.path), second.path]
    assert verify(files, head=head_of(second.path)).whole


def test_a_rotation_that_fails_drops_the_line_and_tries_again(tmp_path, record, monkeypatch):
    log = AuditLog(tmp_path, rotate_bytes=1500)
    log.record(record())

    def full(path, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", full)
        with pytest.raises(OSError, match="No space"):
            log.record(record())
    log.record(record())
    log.close()
    report = verify([*rotated_files(log.path), log.path], head=head_of(log.path))
    assert report.whole and (log.dropped, report.missing) == (1, 1)


def test_a_full_disk_drops_whole_lines_counts_them_and_says_so_later(tmp_path, record, monkeypatch):
    audit_log = AuditLog(tmp_path)

    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(audit.os, "write", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                audit_log.record(record())
        assert not audit_log.available
    audit_log.record(record())
    assert audit_log.available and (audit_log.dropped, audit_log.written) == (3, 1)
    audit_log.close()
    report = verify([audit_log.path])
    assert report.whole and report.missing == 3


def test_a_line_the_disk_takes_in_part_leaves_no_fragment(tmp_path, record, monkeypatch):
    audit_log = AuditLog(tmp_path)
    write = os.write
    with monkeypatch.context() as broken:
        broken.setattr(audit.os, "write", lambda file, content: write(file, content[:50]))
        with pytest.raises(OSError, match="a part of a line"):
            audit_log.record(record())
    audit_log.record(record())
    audit_log.close()
    assert verify([audit_log.path]).whole


def test_a_second_process_on_the_directory_writes_a_log_of_its_own(tmp_path, record):
    first = AuditLog(tmp_path)
    code = (
        "import sys; from pathlib import Path; from penstock.record.audit import AuditLog;"
        "log = AuditLog(Path(sys.argv[1])); print(log.path.name); log.close()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "audit-2.jsonl"
    first.record(record())
    first.close()
    assert verify([first.path]).whole
    assert verify([tmp_path / "audit-2.jsonl"]).whole


def test_files_are_readable_by_the_owner_only(log):
    modes = {file.name: file.stat().st_mode & 0o777 for file in log.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
