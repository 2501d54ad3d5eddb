"""`penstock approvals watch`: open tickets as they come, answered by key.

Without a terminal, one line for each new ticket: for a pipe into whatever tells people.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from penstock.cli.approval_desk import Desk, Row
from penstock.cli.approvals import line, printable

# How often the processes are asked: a person does not see less.
LOOK_SECONDS = 0.5
KEYS = "up/down choose   a approve   d deny   q quit"
UP, DOWN = (b"k", b"\x1b[A"), (b"j", b"\x1b[B")
KEY_BYTES_MAX = 16


def watch(desk: Desk, name: str) -> None:
    """Until the person quits."""
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdin.isatty() and sys.stdout.isatty():
            _by_key(desk, name)
        else:
            _by_line(desk)


def _by_line(desk: Desk) -> None:
    told: set[str] = set()
    while True:
        rows = _open(desk)
        for row in rows:
            if row["ticket"] not in told:
                click.echo(line(row))
        told = {row["ticket"] for row in rows}
        time.sleep(LOOK_SECONDS)


def _open(desk: Desk) -> list[Row]:
    return [row for row in desk.rows() if row["standing"] == "open"]


def _by_key(desk: Desk, name: str) -> None:
    chosen, note = "", ""
    seen: list[str] = []  # tickets keep their places: a key must not meet another than was meant
    with _keys(), Live(console=Console(), auto_refresh=False, screen=True) as live:
        while True:
            rows = {row["ticket"]: row for row in _open(desk)}
            first = not seen
            seen = [one for one in seen if one in rows] + [one for one in rows if one not in seen]
            if chosen not in rows:  # after it is gone none is chosen until the person says so
                chosen = seen[0] if first and seen else ""
            live.update(_table([rows[one] for one in seen], chosen, note), refresh=True)
            key = _key()
            if key == b"q":
                return
            if (key in UP or key in DOWN) and seen:
                place = seen.index(chosen) + (1 if key in DOWN else -1) if chosen else 0
                chosen = seen[max(0, min(place, len(seen) - 1))]
            elif key in (b"a", b"d") and chosen:
                note = _answer(desk, rows[chosen], "approve" if key == b"a" else "deny", name)


def _answer(desk: Desk, row: Row, answer: str, name: str) -> str:
    try:
        found = desk.answer(row["ticket"], answer, name)
    except click.ClickException as error:
        return error.message
    return f"{found['standing']}: {row['tool']}" if found else f"{row['ticket']} is gone"


def _table(rows: list[Row], chosen: str, note: str) -> Table:
    table = Table(title="calls that wait for a person", caption=f"{KEYS}\n{note}", expand=True)
    for head in ("", "tool", "server", "caller", "rule", "left", "ticket"):
        table.add_column(head)
    for row in rows:
        seconds = max(0, round(row["until"] - time.time()))
        cells = (
            ">" if row["ticket"] == chosen else "",
            f"{row['tool']}({', '.join(row['arguments'])})",
            row["server"],
            row["caller"] or "unknown",
            row["rule"],
            f"{seconds // 60}:{seconds % 60:02d}" + (" waits" if row["held"] else ""),
            row["ticket"],
        )
        table.add_row(*map(_plain, cells), style="bold" if row["ticket"] == chosen else "")
    return table


def _plain(text: str) -> str:
    """Names come from servers: they are no markup either."""
    return printable(text).replace("[", r"\[")


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Keys one by one; the terminal as it was afterwards."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _key() -> bytes:
    """The next key, b"" when none comes within the time until the next look."""
    ready, _, _ = select.select([sys.stdin], [], [], LOOK_SECONDS)
    return os.read(sys.stdin.fileno(), KEY_BYTES_MAX) if ready else b""
