"""Tell somebody of calls that wait for a person: a signed message to one URL, out and never in.

The message names what the ticket names: no argument, no credential. It is signed as Standard
Webhooks 1.0 has it (HMAC-SHA256 over id, time and body), so that a chat bot can trust it. Sent
from a thread of its own; what cannot be delivered is dropped and counted: the ticket stands all
the same.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256

from penstock.mcp.approvals import OPEN_MAX, Announce, Approval
from penstock.route.credentials.ask import ask
from penstock.route.credentials.fetched import SourceError
from penstock.route.credentials.file import read

logger = logging.getLogger(__name__)

# Seconds before each further try. A person who hears of it later than that has little time left.
RETRY_SECONDS = (1.0, 5.0, 20.0)
SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks a base64 secret
TYPE = "approval.requested"


class Announcer:
    """Sends announcements one after another. ``pause`` waits between tries."""

    def __init__(self, to: Announce, pause: Callable[[float], None] = time.sleep) -> None:
        self.to = to
        self.sent = 0
        self.failed = 0
        self._pause = pause
        self._waiting: queue.Queue[bytes] = queue.Queue(OPEN_MAX)
        self._thread: threading.Thread | None = None

    def announce(self, approval: Approval, policy_hash: str) -> None:
        """Send it soon; drop it when too many wait."""
        data = {k: v for k, v in asdict(approval).items() if k != "standing"}
        message = {"type": TYPE, "timestamp": _moment(time.time())}
        body = {
            **message,
            "data": {**data, "until": _moment(approval.until), "policy": policy_hash},
        }
        try:
            self._waiting.put_nowait(json.dumps(body, separators=(",", ":")).encode())
        except queue.Full:
            self.failed += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name="announce", daemon=True)
            self._thread.start()

    def _send_all(self) -> None:
        while True:
            self._send(self._waiting.get())

    def _send(self, body: bytes) -> None:
        problem = ""
        for pause in (0.0, *RETRY_SECONDS):
            if pause:
                self._pause(pause)
            try:
                secret = read(self.to.secret_file)
                ask(
                    self.to.url,
                    headers=signed(body, secret, time.time()),
                    content=body,
                    ca=self.to.ca,
                )
            except SourceError as error:
                problem = str(error)
            except ValueError:
                problem = "the secret is no base64"
            else:
                self.sent += 1
                return
        self.failed += 1
        logger.error("an approval could not be announced: %s", problem)


def signed(body: bytes, secret: str, now: float) -> dict[str, str]:
    """The headers that prove the message: same body, same id, so that a retry is known as one."""
    ident = "msg_" + sha256(body).hexdigest()[:24]
    moment = str(int(now))
    secret = secret.strip()
    key = secret.encode()
    if secret.startswith(SECRET_PREFIX):
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.digest(key, f"{ident}.{moment}.".encode() + body, "sha256")
    return {
        "webhook-id": ident,
        "webhook-timestamp": moment,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
