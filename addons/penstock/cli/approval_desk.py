"""Where a person's answers go: to a running process, or into the files it will look at."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from penstock.caller.peer import user_name
from penstock.mcp.approvals import APPROVALS, Approvals, Person, Standing
from penstock.proxy.control import local_socket

Row = dict[str, Any]  # the fields of an Approval, and ``held``
ANSWERS: dict[str, Standing] = {"approve": "approved", "deny": "denied"}


class Desk:
    """The tickets of one state directory."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def rows(self) -> list[Row]:
        """Every ticket; ``held`` says that a call waits for it now."""
        rows: dict[str, Row] = {}
        for path in self._sockets():
            said = self._asked(path, "/approvals")
            for row in said.body.get("approvals", []) if said is not None else ():
                known = rows.setdefault(row["ticket"], row)
                known["held"] = known["held"] or row["held"]
        if not rows:
            return [{**asdict(one), "held": False} for one in self._files()]
        return list(rows.values())

    def answer(self, ticket: str, answer: str, name: str = "", reason: str = "") -> Row | None:
        """Say yes or no; the ticket as it stands then, None when there is none.

        One process is told; it tells the others. To tell each would answer twice: the yes may
        be used up, and the same call wait again, before the second is asked.
        """
        words = {k: v for k, v in (("name", name), ("reason", reason)) if v}
        path = self._who_speaks(ticket)
        if path is not None:
            return self._told(path, f"/approvals/{ticket}/{answer}", words)
        uid = os.geteuid()
        found = self._store().answer(
            ticket, ANSWERS[answer], Person(uid, user_name(uid), name, reason)
        )
        return None if found is None else asdict(found)

    def _who_speaks(self, ticket: str) -> Path | None:
        """A process that answers now, of several one where the call waits."""
        speaking = None
        for path in self._sockets():
            said = self._asked(path, "/approvals")
            for row in said.body.get("approvals", []) if said is not None else ():
                if row["ticket"] == ticket and row["held"]:
                    return path
            speaking = speaking or (path if said is not None else None)
        return speaking

    def _told(self, path: Path, target: str, words: dict[str, str]) -> Row | None:
        try:
            said = local_socket.ask(path, "POST", target, words)
        except OSError as error:
            why = f"{path.name} does not say whether it took the answer: {error}"
            raise click.ClickException(f"{why}. See penstock approvals list.") from None
        if said is not None and said.status == 400:
            raise click.ClickException("--as and --reason may have 200 characters each")
        return None if said is None else said.body.get("approval")

    def _sockets(self) -> list[Path]:
        try:
            return local_socket.found(self.state / local_socket.FOLDER)
        except PermissionError as error:
            raise self._forbidden(error) from None

    def _asked(self, path: Path, target: str) -> local_socket.Answer | None:
        """What the process says; None where none is there, or it does not speak."""
        try:
            said = local_socket.ask(path, "GET", target)
        except PermissionError as error:
            raise self._forbidden(error) from None
        except OSError as error:
            click.echo(f"{path.name} does not answer: {error}", err=True)
            return None
        if said is not None and said.status == 403:
            raise self._forbidden(f"{path} heard somebody else")
        return said

    def _files(self) -> list[Any]:
        try:
            return list(self._store().all())
        except PermissionError as error:
            raise self._forbidden(error) from None

    def _store(self) -> Approvals:
        folder = self.state / APPROVALS
        try:
            if folder.exists():
                next(folder.iterdir(), None)
        except PermissionError as error:
            raise self._forbidden(error) from None
        return Approvals(folder)

    def _forbidden(self, error: object) -> click.ClickException:
        try:
            owner = self.state.stat().st_uid
            who = f"user {user_name(owner) or owner}"
        except OSError:
            who = "the proxy's user"
        return click.ClickException(f"{error}. Run this as {who}, or as root.")
