"""`penstock spend`: tables, CSV and JSON of what calls cost."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli.spend import bar, command


@pytest.fixture
def log(tmp_path: Path) -> Path:
    def line(team: str, user: str, model: str, usd: str | None, tokens: int, **more: object) -> str:
        return json.dumps(
            {
                "type": "call", "id": "1", "time": "2026-06-20T12:00:00.000Z",
                "caller": {"team": team, "user": user},
                "destination": {"provider": "openai", "host": "api.openai.com"},
                "model": model, "usage": {"input": tokens, "output": 1}, "status": 200,
                "cost_usd": usd, "price_source": None if usd else "model_unknown", **more,
            }
        )  # fmt: skip

    file = tmp_path / "audit.jsonl"
    file.write_text(
        "\n".join(
            [
                line("pay", "mia", "gpt-5", "0.300000001", 10),
                line("pay", "noa", "gpt-5-mini", "0.1", 20),
                line("ads", "=cmd()", "house-llm", None, 30),
                line("ads", "zoe", "gpt-5", "0.05", 5, time="2026-05-01T00:00:00Z"),
                "not json",
            ]
        )
    )
    return file


def spend(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_json_is_exact(log):
    said = json.loads(spend(log, "--by", "team", "--format", "json"))
    assert said["groups"][0] == {
        "team": "pay", "calls": 2, "input_tokens": 30, "output_tokens": 2, "usd": "0.400000001",
        "estimated": 0, "possibly_billed": 0, "unpriced": 0, "unpriced_tokens": 0,
    }  # fmt: skip
    assert said["total"]["usd"] == "0.450000001"
    assert said["total"]["unpriced"] == 1


def test_csv_by_several_and_without_formulas(log):
    lines = list(csv.DictReader(io.StringIO(spend(log, "--by", "user", "--by", "day",
                                                  "--format", "csv"))))  # fmt: skip
    assert {one["user"] for one in lines} == {"mia", "noa", "zoe", "'=cmd()"}
    assert {one["day"] for one in lines} == {"2026-06-20", "2026-05-01"}


def test_since_leaves_older_calls_out(log):
    said = json.loads(spend(log, "--since", "2026-06-01T00:00+00:00", "--format", "json"))
    assert said["total"]["calls"] == 3


def test_table_has_bars_and_says_what_is_not_in_it(log):
    shown = spend(log, "--by", "team")
    pay, ads = (next(line for line in shown.splitlines() if name in line) for name in
                ("pay ", "ads "))  # fmt: skip
    assert pay.count("█") > ads.count("█") > 0
    assert "0.400000" in pay
    assert "1 calls not priced (31 tokens) and not in the sums: 1 model_unknown" in shown


def test_rows_are_one_line_each(log):
    lines = [json.loads(line) for line in spend(log, "--rows", "--format", "json").splitlines()]
    assert len(lines) == 4
    assert lines[2]["usd"] == "" and lines[2]["unpriced_because"] == "model_unknown"
    assert spend(log, "--rows", "--format", "csv").startswith("id,time,team,user,")


def test_logs_of_the_state_directory_are_found(log, monkeypatch):
    monkeypatch.setenv("PENSTOCK_STATE_DIR", str(log.parent))
    assert json.loads(spend("--format", "json"))["total"]["calls"] == 4
    monkeypatch.setenv("PENSTOCK_STATE_DIR", str(log.parent / "none"))
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 2 and "no audit log" in result.output


@pytest.mark.parametrize(("share", "cells"), [(0, 0), (1, 24), (0.5, 12), (2, 24), (-1, 0)])
def test_bars(share, cells):
    assert len(bar(share)) == cells
