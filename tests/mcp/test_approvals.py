"""Tickets: one yes, one use, over processes; announcements are signed and tried again."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from penstock.mcp import approvals as module
from penstock.mcp.announce import RETRY_SECONDS, Announcer
from penstock.mcp.approvals import Announce, Approval, Approvals

TICKET = "0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(b"a shared secret of 24 b.").decode()


def approval(ticket: str = TICKET, seconds: float = 60) -> Approval:
    arguments = ("amount", "to")
    return Approval(ticket, "https://s/mcp", "pay", arguments, "mia", "r", time.time() + seconds)


@pytest.fixture
def folder(tmp_path: Path) -> Approvals:
    return Approvals(tmp_path / "approvals")


def test_a_yes_is_used_once(folder: Approvals) -> None:
    assert folder.ask(approval()) and not folder.ask(approval())
    assert not folder.approved(TICKET) and not folder.use(TICKET)
    assert folder.answer(TICKET, "approved") and folder.approved(TICKET)
    assert folder.use(TICKET) and not folder.use(TICKET) and folder.get(TICKET) is None
    assert folder.answer(TICKET, "approved") is None  # nothing waits under it any more


def test_of_many_users_at_once_one_wins(folder: Approvals) -> None:
    """Answers and uses race; no answer brings a used yes back."""
    for _ in range(20):
        folder.ask(approval())
        folder.answer(TICKET, "approved")
        with ThreadPoolExecutor(8) as pool:
            uses = [pool.submit(folder.use, TICKET) for _ in range(6)]
            for _ in range(2):
                pool.submit(folder.answer, TICKET, "approved")
            assert sum(use.result() is not None for use in uses) == 1
        assert not folder.use(TICKET)


def test_tickets_expire_and_are_bounded(folder: Approvals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_MAX", 3)
    assert not folder.ask(approval("f" * 16, seconds=-1)) or folder.get("f" * 16) is None
    assert [folder.ask(approval(f"{n:016x}")) for n in range(5)] == [True] * 3 + [False] * 2
    assert len(list(folder.all())) == 3


@pytest.mark.parametrize("ticket", ["", "../../etc/passwd", "X" * 16, TICKET + "0", ".lock"])
def test_only_tickets_name_files(folder: Approvals, ticket: str) -> None:
    folder.ask(approval())
    assert folder.get(ticket) is None and not folder.use(ticket)
    assert folder.answer(ticket, "approved") is None


async def test_waiting_ends_with_the_answer_the_time_or_the_caller(folder: Approvals) -> None:
    folder.ask(approval())
    assert await folder.wait(TICKET, 0.05, lambda: False) is None
    assert await folder.wait(TICKET, 60, lambda: True) is None
    waiting = asyncio.create_task(folder.wait(TICKET, 60, lambda: False))
    await asyncio.sleep(0)
    folder.answer(TICKET, "denied")
    assert await waiting == "denied"
    assert folder.held == 0


async def test_few_calls_are_held_at_once(
    folder: Approvals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than there is room for is told at once that nobody answered."""
    monkeypatch.setattr(module, "HELD_MAX", 1)
    folder.ask(approval())
    waiting = asyncio.create_task(folder.wait(TICKET, 60, lambda: False))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(folder.wait(TICKET, 60, lambda: False), 5) is None
    folder.answer(TICKET, "approved")
    assert await waiting == "approved"


class Hook:
    """A webhook's receiver that answers with the given statuses, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.left = list(statuses)
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(hook.left.pop(0) if hook.left else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook(500, 503)
    yield made
    made.server.shutdown()


def until(wanted: Any) -> None:
    end = time.monotonic() + 30
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_announcement_is_signed_and_tried_again(hook: Hook, tmp_path: Path) -> None:
    """Standard Webhooks: HMAC over id, time and body; the same id at each try; names only."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    pauses: list[float] = []
    announcer = Announcer(Announce(hook.url, str(tmp_path / "secret")), pauses.append)
    announcer.announce(approval(), "hash")
    until(lambda: announcer.sent)
    assert pauses == list(RETRY_SECONDS[:2]) and len(hook.got) == 3
    assert len({headers["webhook-id"] for headers, _ in hook.got}) == 1
    headers, body = hook.got[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    message = json.loads(body)
    assert message["type"] == "approval.requested"
    assert message["data"]["ticket"] == TICKET and message["data"]["policy"] == "hash"
    assert message["data"]["arguments"] == ["amount", "to"]


def test_what_cannot_be_delivered_is_counted(tmp_path: Path) -> None:
    """Nobody listens, or there is no secret: the ticket stands, and nothing is raised."""
    (tmp_path / "there").write_text("s")
    (tmp_path / "broken").write_text("whsec_x")
    for secret in ("there", "missing", "broken"):
        to = Announce("http://127.0.0.1:9/hook", str(tmp_path / secret))
        announcer = Announcer(to, lambda _seconds: None)
        announcer.announce(approval(), "hash")
        until(lambda announcer=announcer: announcer.failed)
        assert announcer.sent == 0
