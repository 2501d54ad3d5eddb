"""The shop behind a door: it takes the keys of a file, and writes down what each request brought.

``python keyed_shop.py http|sse PORT KEYS LOG``. A request without a key of the file gets 401 with
an OAuth challenge, as servers send it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from shop import make

CHALLENGE = b'Bearer resource_metadata="https://login.example/.well-known/x", scope="all"'


class Door:
    """ASGI in front of the shop."""

    def __init__(self, app: Any, keys: Path, log: Path) -> None:
        self.app, self.keys, self.log = app, keys, log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        given = headers.get("authorization", "").removeprefix("Bearer ")
        taken = given in self.keys.read_text().split()
        with self.log.open("a") as log:
            log.write(json.dumps({"method": scope["method"], "taken": taken, **headers}) + "\n")
        if taken:
            await self.app(scope, receive, send)
            return
        challenge = [(b"www-authenticate", CHALLENGE), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 401, "headers": challenge})
        await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    kind, port, keys, log = sys.argv[1:]
    made = make()
    app = made.streamable_http_app() if kind == "http" else made.sse_app()
    door = Door(app, Path(keys), Path(log))
    uvicorn.run(door, host="127.0.0.1", port=int(port), log_level="critical")
