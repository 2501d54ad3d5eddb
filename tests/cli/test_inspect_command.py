"""The inspect command: every input format, told from its bytes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from penstock.cli.inspect import command

URL = "https://api.openai.com/v1/chat/completions"
LINE = {
    "id": "one",
    "request": {
        "method": "POST",
        "url": URL,
        "headers": {},
        "body": '{"model":"gpt-x","messages":[]}',
    },
    "response": {"status": 200, "headers": {}, "body": '{"model":"gpt-x-1"}'},
}


def run(*arguments: str, given: bytes = b"") -> tuple[int, list[dict[str, Any]], str]:
    result = CliRunner().invoke(command, list(arguments), input=given)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, lines, result.stderr


def test_jsonl_plain_gzipped_and_from_stdin_read_alike(tmp_path: Path) -> None:
    raw = json.dumps(LINE).encode() + b"\n\n"
    (tmp_path / "a.jsonl").write_bytes(raw * 2)
    (tmp_path / "b.gz").write_bytes(gzip.compress(raw))
    code, lines, _ = run(str(tmp_path / "a.jsonl"), str(tmp_path / "b.gz"), "-", given=raw)
    assert code == 0
    assert [(line["id"], line["response_model"]) for line in lines] == [("one", "gpt-x-1")] * 4
    assert run("--jsonl", given=raw)[1] == lines[:1]


def test_a_har_file_is_read(tmp_path: Path) -> None:
    posted = {"text": '{"model":"gpt-x","messages":[]}'}
    entry = {"request": {"method": "POST", "url": URL, "headers": [], "postData": posted}}
    (tmp_path / "s.har").write_text(json.dumps({"log": {"entries": [entry]}}, indent=1))
    code, lines, _ = run(str(tmp_path / "s.har"))
    assert (code, lines[0]["request_model"]) == (0, "gpt-x")
    assert lines[0]["id"].endswith("s.har#1")


def test_a_mitmproxy_flow_file_is_read(tmp_path: Path) -> None:
    flow = tflow.tflow(resp=True)
    flow.request.url = URL
    flow.request.content = b'{"model":"gpt-x","messages":[]}'
    with (tmp_path / "f.mitm").open("wb") as file:
        FlowWriter(file).add(flow)
        FlowWriter(file).add(tflow.tdnsflow())
    code, lines, _ = run(str(tmp_path / "f.mitm"))
    assert (code, len(lines), lines[0]["request_model"]) == (0, 1, "gpt-x")


def test_a_broken_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    good = json.dumps(LINE).encode()
    code, lines, errors = run(given=good + b"\n{oops\n[1]\n" + good)
    assert (code, len(lines)) == (1, 2)
    assert "exchange 2" in errors and "exchange 3" in errors


@pytest.mark.parametrize("body", [b'{"a": 1}', b"[1]", b"text", b"12:x", gzip.compress(b"x")[:12]])
def test_what_is_no_recording_is_said_so(body: bytes) -> None:
    code, lines, errors = run(given=body)
    assert code == 1 and lines == [] and errors


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    assert run(str(tmp_path / "none"))[0] == 2
