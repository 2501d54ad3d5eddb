"""``penstock scan`` and ``penstock detectors``: what they print, and what they never print."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from penstock.cli.detectors import command as detectors
from penstock.cli.scan import command as scan

TOKEN = "ghp_" + "a1B2c3" * 6


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(scan, arguments, input=given)


def test_jsonl_answers_line_by_line_in_order() -> None:
    lines = [{"id": "a", "text": f"é {TOKEN}"}, {"id": 2, "text": "x", "zone": "response"}]
    result = run("--jsonl", given="".join(json.dumps(line) + "\n" for line in lines))
    assert result.exit_code == 0
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first == {
        "id": "a",
        "findings": [
            {"type": "secret.github_token", "start": 2, "end": 42,
             "score": first["findings"][0]["score"], "detector": "secret.github_token"},
        ],
    }  # fmt: skip
    assert second == {"id": 2, "findings": []}


def test_jsonl_is_flushed_after_every_line() -> None:
    """A program can talk to it: the answer comes before the next question."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from penstock.cli import main; main()", "scan", "--jsonl"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    for number in range(3):
        process.stdin.write(json.dumps({"id": number, "text": "bob@example.org"}) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == number
    process.stdin.close()
    assert process.wait(timeout=20) == 0
    process.stdout.close()


@pytest.mark.parametrize("line", ["{", "[]", '{"id": 1}', '{"id": 1, "text": 5}', '"text"'])
def test_a_line_that_is_no_question_is_an_error_that_names_the_line(line: str) -> None:
    result = run("--jsonl", given=line + "\n")
    assert result.exit_code != 0
    assert "line 1" in result.output


@pytest.mark.parametrize("shape", ["human", "json", "sarif"])
def test_the_secret_is_never_printed(shape: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.py"
    file.write_text(f"# é\ntoken = '{TOKEN}'\n")
    result = run("--format", shape, "--explain", str(tmp_path))
    assert result.exit_code == 1
    assert TOKEN[:5] not in result.output and "secret.github_token" in result.output
    assert "settings.py" in result.output


def test_json_says_line_column_and_why(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(f"first\n  {TOKEN}\n")
    (row,) = json.loads(run("--format", "json", "--explain", str(file)).stdout)
    assert (row["line"], row["column"], row["shown"]) == (2, 3, "ghp… (40 characters)")
    assert "GitHub" in row["why"]


def test_sarif_has_the_parts_a_reader_needs(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(TOKEN)
    document: dict[str, Any] = json.loads(run("--format", "sarif", str(file)).stdout)
    (sarif_run,) = document["runs"]
    (result,) = sarif_run["results"]
    assert document["version"] == "2.1.0"
    assert result["ruleId"] == sarif_run["tool"]["driver"]["rules"][0]["id"]
    region = result["locations"][0]["physicalLocation"]["region"]
    assert (region["startLine"], region["startColumn"], region["endColumn"]) == (1, 1, 41)


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}
REGION = closed([], startLine=COUNT, startColumn=COUNT, endLine=COUNT, endColumn=COUNT)
PLACE = closed(
    [],
    artifactLocation=closed([], uri={"type": "string", "format": "uri-reference"}),
    region=REGION,
)
RESULT = closed(
    ["message"],
    ruleId=TEXT,
    level={"enum": ["none", "note", "warning", "error"]},
    message=closed(["text"], text=TEXT),
    locations={"type": "array", "items": closed([], physicalLocation=PLACE)},
    rank={"type": "number", "minimum": -1, "maximum": 100},
)
RULE = closed(["id"], id=TEXT, shortDescription=closed(["text"], text=TEXT))
# The part of the schema that OASIS publishes for SARIF 2.1.0 which the report makes use of.
SARIF = closed(
    ["version", "runs"],
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"enum": ["2.1.0"]},
    runs={
        "type": "array",
        "items": closed(
            ["tool"],
            tool=closed(
                ["driver"],
                driver=closed(
                    ["name"],
                    name={"type": "string", "minLength": 1},
                    rules={"type": "array", "items": RULE, "uniqueItems": True},
                ),
            ),
            columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            results={"type": "array", "items": RESULT},
        ),
    },
)


def test_sarif_keeps_to_its_schema(tmp_path: Path) -> None:
    (tmp_path / "a file #1 é.txt").write_text(f"é\n{TOKEN} and olga@posta.lu\n" * 3)
    document = json.loads(run("--format", "sarif", str(tmp_path)).stdout)
    jsonschema.validate(document, SARIF)
    uris = {
        r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for r in document["runs"][0]["results"]
    }
    assert all(uri.endswith("a%20file%20%231%20%C3%A9.txt") for uri in uris)
    assert len(document["runs"][0]["results"]) == 6


def test_explain_shows_how_a_disguise_was_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(base64.b64encode(f"the token is {TOKEN}".encode()).decode())
    result = run("--explain", str(file))
    assert "Read without its disguise: ghp… (40 characters)." in result.output
    plain = run("--explain", given=TOKEN)
    assert plain.exit_code == 1
    assert "disguise" not in plain.output


def test_nothing_found_is_exit_code_0_and_binaries_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "image.bin").write_bytes(b"\0\1" + TOKEN.encode())
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text(TOKEN)
    assert run(str(tmp_path)).exit_code == 0


def test_a_missing_file_is_exit_code_2(tmp_path: Path) -> None:
    result = run(str(tmp_path / "absent"))
    assert result.exit_code == 2 and "absent" in result.output


def test_an_unknown_type_names_the_nearest() -> None:
    result = run("--find", "secrett", given="x")
    assert result.exit_code == 2 and "did you mean secret" in result.output


def test_detectors_are_listed_and_shown() -> None:
    runner = CliRunner()
    listed = runner.invoke(detectors, ["list", "pii", "--format", "json"])
    assert {"type": "pii.card", "vendors": []} in json.loads(listed.stdout)
    shown = runner.invoke(detectors, ["show", "secret.github_token", "--format", "json"])
    assert "github_crc" in json.loads(shown.stdout)["checks"]
    assert runner.invoke(detectors, ["show", "secret.github"]).exit_code == 2
    assert runner.invoke(detectors, ["list", "nothing"]).exit_code == 1
