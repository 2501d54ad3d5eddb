"""What happened during a run, counted from its audit lines. Pure but for `new_lines`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

HOSTS_SHOWN = 5
TYPES_SHOWN = 8


@dataclass(slots=True)
class Summary:
    """Counts over the calls of one run. ``cost_usd`` leaves the ``unpriced`` calls out."""

    calls: int = 0
    refused: int = 0
    failed: int = 0
    tunnelled: int = 0
    turned_away: Counter[str] = field(default_factory=Counter)  # hosts that are no AI
    hosts: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0
    redacted: Counter[str] = field(default_factory=Counter)
    restored: int = 0
    found_late: Counter[str] = field(default_factory=Counter)  # by who found it

    def as_json(self) -> dict[str, Any]:
        """The same as data; the cost is a decimal number in a string."""
        return {
            "calls": self.calls,
            "refused": self.refused,
            "failed": self.failed,
            "tunnelled": self.tunnelled,
            "turned_away": dict(self.turned_away),
            "hosts": dict(self.hosts),
            "rules": dict(self.rules),
            "tokens": {"input": self.input_tokens, "output": self.output_tokens},
            "cost_usd": format(self.cost_usd, "f"),
            "unpriced": self.unpriced,
            "redacted": dict(self.redacted),
            "restored": self.restored,
            "found_late": dict(self.found_late),
        }


def summarise(lines: Iterable[dict[str, Any]]) -> Summary:
    """Count the ``call`` and ``late`` lines of an audit log (docs/audit.md), no others."""
    summary = Summary()
    for line in lines:
        if line.get("type") == "late":
            for finding in line.get("findings") or []:
                summary.found_late[str(finding.get("detector"))] += finding.get("count") or 0
        if line.get("type") != "call":
            continue
        if line.get("outcome") == "tunnelled":
            summary.tunnelled += 1
        elif _is_other(line):
            summary.turned_away[_host(line)] += 1
        else:
            _count(summary, line)
    return summary


def _is_other(line: dict[str, Any]) -> bool:
    """True for what was refused because it is no AI (``other_traffic: deny``)."""
    return any(rule.get("rule") == "other_traffic" for rule in line.get("rules") or [])


def _host(line: dict[str, Any]) -> str:
    return str((line.get("destination") or {}).get("host"))


def _count(summary: Summary, line: dict[str, Any]) -> None:
    summary.calls += 1
    summary.hosts[_host(line)] += 1
    if line.get("outcome") == "refused":
        summary.refused += 1
        for rule in line.get("rules") or []:
            if rule.get("verdict") == "deny" and rule.get("enforced"):
                summary.rules[str(rule.get("rule"))] += 1
    elif line.get("outcome") == "failed":
        summary.failed += 1
    usage = line.get("usage") or {}
    summary.input_tokens += usage.get("input") or 0
    summary.output_tokens += usage.get("output") or 0
    try:
        summary.cost_usd += Decimal(line["cost_usd"])
    except (KeyError, InvalidOperation):
        summary.unpriced += bool(usage.get("input") or usage.get("output"))
    for finding in line.get("findings") or []:
        if finding.get("action") == "redact":
            summary.redacted[str(finding.get("type"))] += finding.get("count") or 0
    summary.restored += line.get("restored") or 0


def render(summary: Summary) -> list[str]:
    """The summary in a few lines of text."""
    if not summary.calls and not summary.tunnelled and not summary.turned_away:
        return [
            "no call went through the proxy; if the command did call a model or tool server, its "
            "client ignores HTTPS_PROXY: see `penstock doctor`"
        ]
    hosts = ", ".join(f"{host} {count}" for host, count in summary.hosts.most_common(HOSTS_SHOWN))
    lines = [f"{_many(summary.calls, 'call')}{f' ({hosts})' if hosts else ''}"]
    if summary.refused:
        rules = ", ".join(name for name, _ in summary.rules.most_common(HOSTS_SHOWN))
        lines[0] += f", {summary.refused} refused{f' by {rules}' if rules else ''}"
    if summary.failed:
        lines[0] += f", {summary.failed} failed"
    if summary.input_tokens or summary.output_tokens:
        cost = f"${summary.cost_usd:.4f}"
        if summary.unpriced:
            cost += f" and {_many(summary.unpriced, 'call')} without a known price"
        lines.append(f"{summary.input_tokens} tokens in, {summary.output_tokens} out, {cost}")
    if summary.redacted:
        types = summary.redacted.most_common(TYPES_SHOWN)
        listed = ", ".join(f"{name} {count}" for name, count in types)
        restored = f", {summary.restored} put back into answers" if summary.restored else ""
        lines.append(f"{summary.redacted.total()} kept from leaving: {listed}{restored}")
    if summary.found_late:
        found = ", ".join(f"{name} {count}" for name, count in summary.found_late.most_common())
        where = "`penstock audit show` says of which calls"
        lines.append(f"{summary.found_late.total()} found when it had left: {found}; {where}")
    if summary.tunnelled:
        lines.append(f"{_many(summary.tunnelled, 'connection')} passed through unread")
    if summary.turned_away:
        named = summary.turned_away.most_common(HOSTS_SHOWN)
        listed = ", ".join(f"{host} {count}" for host, count in named)
        many = _many(summary.turned_away.total(), "connection")
        lines.append(f"{many} to other hosts turned away by other_traffic: {listed}")
    return lines


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def audit_sizes(state_dir: Path) -> dict[int, int]:
    """The audit files there are, by inode, and how long; the mark for `new_lines`."""
    return {
        file.stat().st_ino: file.stat().st_size
        for file in state_dir.glob("audit*.jsonl")
        if file.is_file()
    }


def new_lines(audit: Path, before: dict[int, int]) -> Iterator[dict[str, Any]]:
    """The lines written into ``audit`` since ``before``, the files it was rotated into included."""
    rotated = sorted(audit.parent.glob(f"{audit.stem}.[0-9]*.jsonl"))
    for file in [*rotated, audit]:
        try:
            with file.open("rb") as stream:
                stream.seek(before.get(file.stat().st_ino, 0))
                for raw in stream:
                    line = json.loads(raw)
                    if isinstance(line, dict):
                        yield line
        except (OSError, ValueError):
            continue  # a summary says what it can; `penstock audit verify` judges the log
