"""The admin socket: a person's yes and no to the calls a process holds.

A Unix-domain socket and never an address on the network: in a pod the application shares the
proxy's loopback and could say yes to its own calls. The kernel says who is there (SO_PEERCRED);
the proxy's own user and root are heard. Nothing here is reached through the proxy, which dials
TCP only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from penstock.caller.peer import peer_uid, user_name
from penstock.mcp.approvals import Approval, Approvals, Person, Standing
from penstock.proxy.control import local_socket
from penstock.proxy.control.admin import serving

logger = logging.getLogger(__name__)

CONNECTIONS_MAX = 32
# A name and a sentence.
BODY_BYTES_MAX = 4096
WORDS_CHARACTERS_MAX = 200
# Another process looks at the file by itself soon; it is not waited for.
WAKE_SECONDS = 1.0
ANSWERS: dict[str, Standing] = {"approve": "approved", "deny": "denied"}
REFUSED = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


class Peer(H11Protocol):
    """A connection of the proxy's own user, or root; any other is told no and closed.

    The scope's ``client`` is the user id as text.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        uid = peer_uid(transport.get_extra_info("socket"))
        if uid not in (0, os.geteuid()):
            logger.warning("the admin socket refused a process of user %s", uid)
            transport.write(REFUSED)
            transport.close()
        self.client = (str(uid), 0)


class ApprovalSocket:
    """Serves the tickets of ``approvals`` in ``folder`` on the loop that calls ``start``."""

    def __init__(self, approvals: Approvals, folder: Path, tell: Callable[[str], None]) -> None:
        self.approvals = approvals
        self.folder = folder
        self.tell = tell
        self.listener, self.path = local_socket.listen(folder)
        routes = [
            Route("/approvals", self.list_tickets),
            Route("/approvals/{ticket}/look", self.look, methods=["POST"]),
            Route("/approvals/{ticket}/{answer}", self.answer, methods=["POST"]),
        ]
        self.server = serving(routes, CONNECTIONS_MAX, http=Peer, ws="none")
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve on the running loop until ``stop``; who waits there is woken from now on."""
        self.task = asyncio.create_task(self.server.serve(sockets=[self.listener]))
        await self.server.listening.wait()
        self.approvals.woken = True

    async def stop(self) -> None:
        """Close, and leave no file."""
        self.approvals.woken = False
        self.server.should_exit = True
        with contextlib.suppress(OSError):
            self.path.unlink()
        if self.task is not None:
            await self.task

    async def list_tickets(self, _request: Request) -> Response:
        """Every ticket of the state directory; ``held``: a call waits for it in this process."""
        found = await asyncio.to_thread(lambda: list(self.approvals.all()))
        waiting = self.approvals.waited_for
        rows = [{**asdict(one), "held": one.ticket in waiting} for one in found]
        return JSONResponse({"approvals": rows})

    async def look(self, request: Request) -> Response:
        """Another process got an answer: whoever waits for it here looks at the file."""
        return JSONResponse({"woken": self.approvals.wake(request.path_params["ticket"])})

    async def answer(self, request: Request) -> Response:
        """A person's yes or no."""
        ticket, standing = request.path_params["ticket"], ANSWERS.get(request.path_params["answer"])
        words = await self._words(request)
        if standing is None or words is None:
            return JSONResponse({"error": "not understood"}, status_code=400)
        assert request.client is not None  # set for each connection
        uid = int(request.client.host)
        by = Person(uid, user_name(uid), **words)
        found = await asyncio.to_thread(self.approvals.answer, ticket, standing, by)
        if found is None:
            return JSONResponse({"error": "no such ticket"}, status_code=404)
        self.approvals.wake(ticket)
        self.tell(f"approval {ticket}: {standing} by {by.user or f'user {uid}'}: {named(found)}")
        wake = BackgroundTask(wake_others, self.folder, self.path, ticket)
        return JSONResponse({"approval": asdict(found)}, background=wake)

    async def _words(self, request: Request) -> dict[str, str] | None:
        """What the person says of themselves and why; None when that is not understood."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return None
        try:
            said = json.loads(body or b"{}")
        except ValueError:
            return None
        if not isinstance(said, dict) or not said.keys() <= {"name", "reason"}:
            return None
        fine = (isinstance(t, str) and len(t) <= WORDS_CHARACTERS_MAX for t in said.values())
        return said if all(fine) else None


def named(approval: Approval) -> str:
    """The call a ticket is for, for a person's eyes."""
    return f"{approval.tool}({', '.join(approval.arguments)}) at {approval.server}"


def wake_others(folder: Path, own: Path, ticket: str) -> None:
    """Tell the other processes of the state directory that a ticket was answered."""
    for path in local_socket.found(folder):
        if path != own:
            with contextlib.suppress(OSError):
                local_socket.ask(path, "POST", f"/approvals/{ticket}/look", seconds=WAKE_SECONDS)
