"""Which AI services are used, by whom, for how much, and what left with it.

One entry per destination, application and model, grown call by call and kept in
STATE_DIR/inventory.json, so that discovery goes on over restarts. Counts and names only.
The reader side (``read``) is what ``penstock discover`` shows.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from penstock.exchange import Caller
from penstock.record.files import write_atomically
from penstock.record.names import NONE, OTHER
from penstock.record.record import Record

# Entries kept, about 1.5 KB each: 3 MB. Applications and hosts are few; models and user agents
# are the caller's choice, so there has to be a bound.
ENTRIES_MAX = 2000
# Names listed per entry: users, tools, MCP servers a provider was told to call.
NAMES_MAX = 50
# The file is rewritten whole; a crash loses at most this much.
SAVE_SECONDS = 5.0
FILE_BYTES_MAX = 64 * 1024 * 1024

Key = tuple[str, str, str]  # host, app, model


@dataclass(slots=True)
class Entry:
    """What is known of one application's use of one model at one destination."""

    host: str
    app: str
    model: str
    provider: str | None = None
    category: str = "other"
    known: bool = False  # in the catalogue of AI services
    calls: int = 0
    refused: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0  # calls with tokens and without a price
    request_bytes: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    apis: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    tools: set[str] = field(default_factory=set)
    first_seen: float = 0.0
    last_seen: float = 0.0

    def count(self, record: Record) -> None:
        """Take one call."""
        self.calls += 1
        self.refused += record.outcome == "refused"
        self.failed += record.outcome == "failed" or (record.status or 0) >= 400
        usage = record.usage
        used_in = usage.input_tokens if usage.input_total is None else usage.input_total
        used_out = usage.output_tokens if usage.output_total is None else usage.output_total
        self.input_tokens += used_in or 0
        self.output_tokens += used_out or 0
        if record.cost_usd is not None:
            self.cost_usd += record.cost_usd
        elif used_in or used_out:
            self.unpriced += 1
        self.request_bytes += record.request_bytes
        self.first_seen = min(self.first_seen or record.time, record.time)
        self.last_seen = max(self.last_seen, record.time)
        if record.findings:
            self.findings.update(one.finding.type for one in record.findings)
        if record.api:
            _add(self.apis, (record.api,))
        if record.caller.user:
            _add(self.users, (record.caller.user,))
        if record.tool_calls:
            _add(self.tools, record.tool_calls)
        if record.mcp:
            _add(self.tools, record.mcp.tools_listed or ())
            _add(self.tools, (record.mcp.tool,) if record.mcp.tool else ())

    def merge(self, other: Entry) -> None:
        """Add another process's entry of the same key."""
        for name in ("calls", "refused", "failed", "input_tokens", "output_tokens", "unpriced",
                     "request_bytes", "cost_usd"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.findings.update(other.findings)
        for mine, theirs in (
            (self.apis, other.apis),
            (self.users, other.users),
            (self.tools, other.tools),
        ):
            _add(mine, theirs)
        self.first_seen = min(self.first_seen, other.first_seen)
        self.last_seen = max(self.last_seen, other.last_seen)

    def to_json(self) -> dict[str, Any]:
        """As plain values, names sorted."""
        return {
            "host": self.host,
            "app": self.app,
            "model": self.model,
            "provider": self.provider,
            "category": self.category,
            "known": self.known,
            "calls": self.calls,
            "refused": self.refused,
            "failed": self.failed,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": format(self.cost_usd, "f"),
            "unpriced": self.unpriced,
            "request_bytes": self.request_bytes,
            "findings": dict(self.findings),
            "apis": sorted(self.apis),
            "users": sorted(self.users),
            "tools": sorted(self.tools),
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
        }


class Inventory:
    """The inventory of one process; a sink of the Recorder."""

    name = "inventory"

    def __init__(self, path: Path) -> None:
        """Continue the inventory in ``path``; a file that is none is put aside as it is."""
        self._path = path
        self._guard = threading.Lock()
        self._entries: dict[Key, Entry] = {}
        self._changed = False
        self._saved_at = 0.0
        if path.exists():
            try:
                self._entries = {(one.host, one.app, one.model): one for one in read([path])}
            except ValueError:
                path.replace(path.with_suffix(".unreadable"))

    def record(self, record: Record) -> None:
        """Count one call. Traffic that is not AI is not in the inventory."""
        destination = record.destination
        if not record.api and not record.mcp and destination.category == "other":
            return
        with self._guard:
            entry = self._entry(destination.host, app_of(record.caller), record.model or NONE)
            if not entry.calls:
                entry.provider, entry.category = destination.provider, destination.category
                entry.known = destination.known
            entry.count(record)
            self._changed = True

    def flush(self) -> None:
        """Write the file when something changed and the last write is long enough ago."""
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save()

    def close(self) -> None:
        """Write the file when something changed."""
        self._save()

    def _save(self) -> None:
        with self._guard:
            if not self._changed:
                return
            self._changed = False
            rows = [entry.to_json() for entry in self._entries.values()]
        self._saved_at = time.monotonic()
        content = orjson.dumps({"version": 1, "entries": rows}, option=orjson.OPT_INDENT_2)
        write_atomically(self._path, content + b"\n")

    def _entry(self, host: str, app: str, model: str) -> Entry:
        """The entry for a key; when the table is full, one of fewer names."""
        for key in ((host, app, model), (host, app, OTHER), (host, OTHER, OTHER)):
            if found := self._entries.get(key):
                return found
            if len(self._entries) < ENTRIES_MAX:
                return self._entries.setdefault(key, Entry(*key))
        return self._entries.setdefault((OTHER, OTHER, OTHER), Entry(OTHER, OTHER, OTHER))


def app_of(caller: Caller) -> str:
    """The best name for the application that calls: workload, agent, process, client library."""
    workload = caller.workload
    if workload.name:
        return f"{workload.namespace}/{workload.name}" if workload.namespace else workload.name
    if caller.agent:
        return caller.agent
    if caller.process:
        return caller.process.name
    if caller.user_agent:
        return caller.user_agent.split("/", 1)[0].split(" ", 1)[0] or NONE
    return NONE


def inventory_files(state_dir: Path) -> list[Path]:
    """The inventories in a state directory: one per process that ran there at a time."""
    return sorted(state_dir.glob("inventory*.json"))


def read(paths: Iterable[Path]) -> list[Entry]:
    """The entries of some inventory files, merged, most calls first.

    OSError when one cannot be read, ValueError when one is not an inventory.
    """
    merged: dict[Key, Entry] = {}
    for path in paths:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        try:
            if len(content) > FILE_BYTES_MAX:
                raise ValueError("too large")
            for values in orjson.loads(content)["entries"]:
                entry = _entry_from(values)
                key = (entry.host, entry.app, entry.model)
                if key in merged:
                    merged[key].merge(entry)
                else:
                    merged[key] = entry
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"{path} is not an inventory") from error
    return sorted(merged.values(), key=lambda one: (-one.calls, one.host, one.app, one.model))


def _entry_from(values: dict[str, Any]) -> Entry:
    taken = dict(values)
    taken["cost_usd"] = Decimal(taken["cost_usd"])
    taken["findings"] = Counter(taken["findings"])
    for name in ("apis", "users", "tools"):
        taken[name] = set(taken[name])
    return Entry(**taken)


def _add(names: set[str], new: Iterable[str]) -> None:
    for name in new:
        if len(names) >= NAMES_MAX:
            return
        names.add(name)
