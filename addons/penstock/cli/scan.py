"""`penstock scan`: find secrets and personal data in files, folders and streams.

What was found is never printed: the type, the place, the first three characters and the
length have to do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args
from urllib.parse import quote

import click

from penstock.cli.words import counted

if TYPE_CHECKING:
    from penstock.detect import Detectors
    from penstock.detect.probe import Probe
    from penstock.exchange import Finding, Zone

    Look = Callable[[str, Zone], list[Finding]]

# A longer file is data, not something a person wrote; it is named on stderr and left out.
FILE_BYTES_MAX = 32 * 1024 * 1024
# A NUL among the first bytes says that a file is not text.
SNIFF_BYTES = 8192
SHOWN_CHARACTERS = 3
LEFT_OUT = frozenset({".git", ".hg", ".svn", "node_modules", ".venv", "__pycache__"})
ZONES = {"response": "assistant"}
DEFAULT_TYPES = ("secret", "pii", "injection", "tool_poisoning", "leakage")


@click.command(
    epilog="Example: git diff --staged | penstock scan -     penstock scan --format sarif src/",
    short_help="Find secrets and personal data in texts.",
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--jsonl", is_flag=True, help='Lines {"id","text","zone"} in, {"id","findings"} out.')
@click.option("--format", "shape", type=click.Choice(["human", "json", "sarif"]), default="human")
@click.option("--find", "types", multiple=True, metavar="TYPE", help="Look for TYPE only.")
@click.option("--explain", is_flag=True, help="Say for each finding which rule spoke, and why.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Use the detectors and encoders of this policy, too.",
)
@click.option("--deep", is_flag=True, help="Ask detect-secrets' plug-ins, too (slower, more).")
def command(
    files: tuple[Path, ...],
    jsonl: bool,
    shape: str,
    types: tuple[str, ...],
    explain: bool,
    policies: tuple[Path, ...],
    deep: bool,
) -> None:
    """Scan FILES (folders are walked; - or nothing is stdin).

    Exit code 0: nothing found; 1: something found; 2: a file could not be read or TYPE is
    unknown. With --jsonl the exit code is 0 when every line could be read.
    """
    own = _own_probes(policies)
    chosen = _checked(types, {name for probe in own for name in probe.types})
    look = _look(chosen or (*DEFAULT_TYPES, *(("custom",) if own else ())), deep, own)
    paths = files or (Path("-"),)
    if jsonl:
        _lines(paths, look)
        return
    broken: list[str] = []
    found = list(_scanned(paths, look, broken))
    if shape == "sarif":
        click.echo(json.dumps(_sarif(found), indent=1))
    elif shape == "json":
        click.echo(json.dumps([_row(*entry, explain) for entry in found], ensure_ascii=False))
    else:
        for entry in found:
            _human(*entry, explain)
    places = len({name for name, _, _ in found})
    where = f" in {counted(places, 'file')}" if places else ""
    click.echo(f"{counted(len(found), 'finding')}{where}", err=True)
    if broken:
        raise SystemExit(2)
    if found:
        raise SystemExit(1)


def _own_probes(policies: tuple[Path, ...]) -> list[Probe]:
    """The detectors and encoders of a policy, looked for in every zone."""
    if not policies:
        return []
    from penstock.detect.encoders.named import probes
    from penstock.exchange import Zone
    from penstock.policy.language.load import load
    from penstock.policy.language.problem import ConfigError
    from penstock.policy.language.shipped import resolve

    try:
        policy = load(resolve(policies))
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    everywhere = frozenset(get_args(Zone))
    return [*policy.custom_probes, *probes(policy.encoders, lambda _: everywhere)]


def _look(types: tuple[str, ...], deep: bool, own: Sequence[Probe]) -> Look:
    """What finds: the detectors of ``types``, and detect-secrets after them if ``deep``."""
    from penstock.detect import Detectors

    detectors = Detectors(types, own)
    scan: Look = _by_models(detectors) if detectors.slow else detectors.scan
    if not deep:
        return scan
    from penstock.detect.calls import CANDIDATE
    from penstock.detect.hindsight.plugins import Missing, looked_at_again, plugins
    from penstock.exchange import matches_type

    if not matches_type(types, CANDIDATE):
        return scan  # what the plug-ins know are secrets
    try:
        plugins()
    except Missing as error:
        raise click.UsageError(str(error)) from None
    return lambda text, zone: looked_at_again(text, scan(text, zone))


def _by_models(detectors: Detectors) -> Look:
    """The same with a policy's encoders; a text they do not get done with is not judged."""
    from penstock.detect.encoders.encoder import EncoderTimeoutError
    from penstock.exchange import UNSCANNABLE, Finding

    def look(text: str, zone: Zone) -> list[Finding]:
        try:
            return detectors.scan(text, zone)
        except EncoderTimeoutError:
            return [Finding(UNSCANNABLE, 0, len(text), 1.0, UNSCANNABLE)]

    return look


def _checked(types: tuple[str, ...], own: set[str]) -> tuple[str, ...]:
    from difflib import get_close_matches

    from penstock.detect import known_types
    from penstock.detect.encoders.entities import ENTITY_TYPES

    known = [*known_types(), *own]
    names = {*known, *(".".join(name.split(".")[:n]) for name in known for n in (1, 2))}
    for name in types:
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"unknown finding type {name}{hint}")
        if name in ENTITY_TYPES and name not in own:
            raise click.UsageError(f"{name} is found by a model: --policy with encoders")
    return types


def _lines(paths: tuple[Path, ...], look: Look) -> None:
    """Design section 10: one line in, one line out, in order, flushed."""
    for path in paths:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    sys.stdout.write(_answer(line, number, look) + "\n")
                    sys.stdout.flush()


def _answer(line: bytes, number: int, look: Look) -> str:
    try:
        row = json.loads(line)
        text, zone = row["text"], row.get("zone", "user")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise click.ClickException(
            f'line {number} is no {{"id","text"}}: {type(error).__name__}'
        ) from None
    if not isinstance(text, str):
        raise click.ClickException(f'line {number}: "text" is no string')
    findings = look(text, cast("Zone", ZONES.get(zone, zone)))
    return json.dumps(
        {
            "id": row.get("id"),
            "findings": [
                {
                    "type": finding.type,
                    "start": finding.start,
                    "end": finding.end,
                    "score": finding.score,
                    "detector": finding.detector,
                }
                for finding in findings
            ],
        }
    )


def _scanned(
    paths: tuple[Path, ...], look: Look, broken: list[str]
) -> Iterator[tuple[str, str, Finding]]:
    for path in paths:
        for name, text in _texts(path, broken):
            for finding in look(text, "user"):
                yield name, text, finding


def _texts(path: Path, broken: list[str]) -> Iterator[tuple[str, str]]:
    if str(path) == "-":
        yield "stdin", sys.stdin.buffer.read().decode("utf-8", "replace")
        return
    try:
        members = sorted(_files(path)) if path.is_dir() else [path]
        for member in members:
            text = _text(member)
            if text is not None:
                yield str(member), text
    except OSError as error:
        broken.append(str(path))
        click.echo(f"{error.filename or path}: {error.strerror}", err=True)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink() or path.name in LEFT_OUT:
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def _text(path: Path) -> str | None:
    if path.stat().st_size > FILE_BYTES_MAX:
        click.echo(f"{path}: left out, larger than {FILE_BYTES_MAX} bytes", err=True)
        return None
    data = path.read_bytes()
    return None if b"\0" in data[:SNIFF_BYTES] else data.decode("utf-8", "replace")


def _place(text: str, at: int) -> tuple[int, int]:
    """Line and column, counted from 1."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _shown(text: str, finding: Finding) -> str:
    return _masked(text[finding.start : finding.end])


def _masked(value: str) -> str:
    head = value[:SHOWN_CHARACTERS] if len(value) > 4 * SHOWN_CHARACTERS else value[:1]
    return f"{head}… ({len(value)} characters)".replace("\n", " ")


def _human(name: str, text: str, finding: Finding, explain: bool) -> None:
    line, column = _place(text, finding.start)
    click.echo(
        f"{name}:{line}:{column}: {finding.type} {_shown(text, finding)} score {finding.score:.2f}"
    )
    if explain:
        for line_of_reasons in _reasons(text, finding):
            click.echo(f"    {line_of_reasons}")


def _row(name: str, text: str, finding: Finding, explain: bool) -> dict[str, Any]:
    line, column = _place(text, finding.start)
    row: dict[str, Any] = {
        "file": name, "line": line, "column": column, "type": finding.type,
        "start": finding.start, "end": finding.end, "score": finding.score,
        "detector": finding.detector, "shown": _shown(text, finding),
    }  # fmt: skip
    if explain:
        row["why"] = " ".join(_reasons(text, finding))
    return row


def _reasons(text: str, finding: Finding) -> list[str]:
    """Why it is a finding, and what was read where it stands in a disguise."""
    from penstock.detect.describe import undisguised, why

    hidden = undisguised(text, finding)
    reasons = [f"{why(finding)}."]
    if hidden is not None:
        reasons.append(f"Read without its disguise: {_masked(hidden)}.")
    return reasons


def _sarif(found: list[tuple[str, str, Finding]]) -> dict[str, Any]:
    """SARIF 2.1.0 (OASIS): one run, one rule per finding type."""
    from penstock.detect.describe import why

    rules: dict[str, dict[str, Any]] = {}
    results = []
    for name, text, finding in found:
        rules.setdefault(
            finding.type, {"id": finding.type, "shortDescription": {"text": why(finding)}}
        )
        line, column = _place(text, finding.start)
        end_line, end_column = _place(text, finding.end)
        region = {
            "startLine": line, "startColumn": column,
            "endLine": end_line, "endColumn": end_column,
        }  # fmt: skip
        location = {"artifactLocation": {"uri": quote(name)}, "region": region}
        results.append(
            {
                "ruleId": finding.type,
                "level": "error" if finding.score >= 0.8 else "warning",
                "message": {"text": f"{finding.type}: {_shown(text, finding)}"},
                "locations": [{"physicalLocation": location}],
                "rank": round(100 * finding.score, 1),
            }
        )
    driver = {"name": "penstock", "rules": list(rules.values())}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
        ],
    }
