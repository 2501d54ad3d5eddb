"""Reads audit lines back for people: which calls, filtered, newest last. Proves nothing."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

LINE_BYTES_MAX = 1024 * 1024


@dataclass(slots=True, frozen=True)
class Filter:
    """What to show. Names are patterns with ``*``; None shows all."""

    verdict: str | None = None
    host: str | None = None
    model: str | None = None
    app: str | None = None
    rule: str | None = None
    finding: str | None = None
    since: datetime | None = None

    def matches(self, call: dict[str, Any]) -> bool:
        """True when every filter that is set holds."""
        caller = call.get("caller") or {}
        apps = [str(caller[name]) for name in ("workload", "agent", "process", "user")
                if name in caller]  # fmt: skip
        rules = [str(one.get("rule")) for one in call.get("rules") or ()]
        found = [*(call.get("findings") or ()), *(call.get("late") or ())]
        types = [str(one.get("type")) for one in found]
        return (
            (self.verdict is None or call.get("verdict") == self.verdict)
            and _one_of(self.host, [str((call.get("destination") or {}).get("host"))])
            and _one_of(self.model, [str(call.get("model"))])
            and _one_of(self.app, apps)
            and _one_of(self.rule, rules)
            and _one_of(self.finding, types)
            and (self.since is None or _time_of(call) >= self.since)
        )


def calls_of(files: Sequence[Path], kind: str = "call") -> Iterator[dict[str, Any]]:
    """Every call in the files, with what was found of it afterwards (``late``), or every line of
    another kind; damaged ones are passed over."""
    late: dict[str, list[Any]] = {}
    for line in _lines(files, "late"):
        late.setdefault(str(line.get("id")), []).extend(line.get("findings") or ())
    for call in _lines(files, kind):
        found = late.get(str(call.get("id")))
        yield {**call, "late": found} if found else call


def _lines(files: Iterable[Path], kind: str) -> Iterator[dict[str, Any]]:
    word = f'"{kind}"'.encode()
    for file in files:
        with file.open("rb") as stream:
            while line := stream.readline(LINE_BYTES_MAX):
                if word not in line:
                    continue
                try:
                    values = json.loads(line)
                except ValueError:
                    continue
                if isinstance(values, dict) and values.get("type") == kind:
                    yield values


def last(
    calls: Iterable[dict[str, Any]], wanted: Filter, count: int, mixed: bool = False
) -> list[dict[str, Any]]:
    """The last ``count`` calls that match; all of them when ``count`` is 0.

    ``mixed``: they come from several logs and have to be put in the order of time.
    """
    matching: Iterable[dict[str, Any]] = (call for call in calls if wanted.matches(call))
    if mixed:
        matching = sorted(matching, key=lambda call: str(call.get("time")))
    return list(matching) if count == 0 else list(deque(matching, maxlen=count))


def _one_of(pattern: str | None, names: list[str]) -> bool:
    return pattern is None or any(fnmatchcase(name, pattern) for name in names)


def _time_of(call: dict[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(str(call.get("time")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
