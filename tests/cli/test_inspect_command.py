"""The inspect command: every input format, told from its bytes."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
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


def test_every_format_is_known_when_gzipped(tmp_path: Path) -> None:
    """By its bytes: the names say nothing."""
    flow = tflow.tflow(resp=True)
    flow.request.url = URL
    packed = io.BytesIO()
    FlowWriter(packed).add(flow)
    entry = {"request": {"method": "POST", "url": URL}}
    formats = {
        "a": json.dumps(LINE).encode(),
        "b": json.dumps({"log": {"entries": [entry]}}, indent=1).encode(),
        "c": packed.getvalue(),
    }
    for name, content in formats.items():
        (tmp_path / name).write_bytes(gzip.compress(content))
    code, lines, errors = run(*(str(tmp_path / name) for name in formats))
    assert (code, errors) == (0, "")
    assert [line["api"] for line in lines] == ["openai.chat_completions"] * 3


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_terminal_is_shown_how_far_it_is(tmp_path: Path) -> None:
    """The bar goes to stderr; what programs read on stdout is free of it."""
    file = tmp_path / "a.jsonl"
    file.write_bytes((json.dumps(LINE).encode() + b"\n") * 2000)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "penstock", "inspect", str(file)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    out, _ = running.communicate(timeout=60)
    shown = os.read(ours, 65536)
    os.close(ours)
    assert running.returncode == 0
    assert b"inspect" in shown and b"%" in shown
    assert len(out.splitlines()) == 2000


def test_a_broken_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    good = json.dumps(LINE).encode()
    code, lines, errors = run(given=good + b"\n{oops\n[1]\n" + good)
    assert (code, len(lines)) == (1, 2)
    assert "exchange 2" in errors and "exchange 3" in errors


ODD = [
    b'{"request":{"url":"http://[x"}}',
    b'{"request":{"url":"https://h:99999999/"}}',
    b'{"request":{"url":5,"method":[],"headers":[1],"body":{"a":1}}}',
    b'{"request":{"body":"\\ud800"},"response":[]}',
    b'{"request":{"body":"AA=","encoding":"base64"},"response":{"status":1e400}}',
    b'{"request":' + b"[" * 5000 + b"]" * 5000 + b"}",
]


@pytest.mark.parametrize("line", ODD)
def test_an_odd_line_is_read_and_costs_nobody_else_anything(line: bytes) -> None:
    good = json.dumps(LINE).encode()
    code, lines, errors = run("--jsonl", given=good + b"\n" + line + b"\n" + good)
    assert (code, len(lines), errors) == (0, 3, "")
    assert lines[2]["response_model"] == "gpt-x-1"


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    mark, line = b"\xef\xbb\xbf", json.dumps(LINE).encode()
    assert run(given=mark + line)[:2] == run(given=line)[:2]
    entry = {"request": {"method": "GET", "url": URL}}
    har = json.dumps({"log": {"entries": [entry]}}).encode()
    assert run(given=mark + har)[0] == 0


TOKENS = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    "reasoning_tokens", "input_tokens_total", "output_tokens_total", "counted_tokens",
)  # fmt: skip
# (recording, field): why the label is wrong and we are not.
LABELS_AT_FAULT = {
    ("w8bf8ad358f5755", "completion_text"): "delta.content and text hold the same; it has both",
    ("w80f71725ed1f04", "completion_text"): "the same",
    ("wa980b0d7c278c5", "input_tokens"): "num_tokens_prompt_total is on the wire; it has none",
    ("wa980b0d7c278c5", "output_tokens"): "num_tokens_generated is on the wire; it has none",
    ("wa980b0d7c278c5", "input_tokens_total"): "the same",
    ("wa980b0d7c278c5", "output_tokens_total"): "the same",
    ("wde1dd26879b138", "reasoning_tokens"): "usage.tokens.reasoning_tokens is on the wire",
}


def agrees(field: str, wanted: Any, found: Any) -> bool:
    if field.endswith("_contains"):
        return all(any(text in one for one in found or ()) for text in wanted)
    if field in ("completion_text", "result_text"):  # shown by their beginning
        return str(found)[:200] == str(wanted)[:200]
    return bool(found == wanted)


def test_the_command_agrees_with_the_labels_of_all_recordings(shared: Path) -> None:
    """Token fields all of them, also where the label has none; others where it has one."""
    files = sorted(shared.glob("wire/wire_*.jsonl"))
    code, lines, errors = run("--jsonl", *map(str, files))
    labels = [json.loads(line) for file in files for line in file.open()]
    assert (code, errors, len(lines)) == (0, "", len(labels))
    tokens = others = 0
    differing: dict[tuple[str, str], Any] = {}
    for got, label in zip(lines, labels, strict=True):
        mcp = {f"mcp {name}": value for name, value in (label["expect"]["mcp"] or {}).items()}
        for field, wanted in (label["expect"] | mcp | {"api": label["api"]}).items():
            of_tokens = field in TOKENS
            if field == "mcp" or (not of_tokens and wanted in (None, "", [], {})):
                continue
            tokens, others = tokens + of_tokens, others + (not of_tokens)
            inner = field.removeprefix("mcp ")
            found = got[field] if inner == field else (got["mcp"] or {}).get(inner)
            if not agrees(inner, wanted, found):
                differing[label["id"], field] = wanted, found
    assert {key: value for key, value in differing.items() if key not in LABELS_AT_FAULT} == {}
    assert tokens > 2000 and others > 2000
    assert len(differing) <= 0.005 * (tokens + others)


@pytest.mark.parametrize("body", [b'{"a": 1}', b"[1]", b"text", b"12:x", gzip.compress(b"x")[:12]])
def test_what_is_no_recording_is_said_so(body: bytes) -> None:
    code, lines, errors = run(given=body)
    assert code == 1 and lines == [] and errors


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    assert run(str(tmp_path / "none"))[0] == 2
