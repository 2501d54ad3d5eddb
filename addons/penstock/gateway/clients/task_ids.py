"""Names of servers' tasks at the endpoint: which server, which of its tasks, which tool, and whose.

A name is sealed for its owner with a key of this installation: nothing has to be kept to find the
task again, after a restart as well, and nobody else can use or make one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass
from hashlib import blake2b

SEAL_BYTES = 16
# Ids of servers are tens of characters; more would be something else.
OWN_CHARACTERS_MAX = 1024
NAME_CHARACTERS_MAX = 4096


@dataclass(slots=True, frozen=True)
class TaskId:
    """A task by its server's own id, and the tool that runs in it."""

    server: str
    own: str
    tool: str

    def sealed(self, owner: str, key: bytes) -> str:
        """What the owner calls it."""
        said = json.dumps([self.server, self.own, self.tool], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_seal(said, owner, key) + said).decode().rstrip("=")


def opened(name: str, owner: str, key: bytes) -> TaskId | None:
    """The task of this owner with this name; None where there is none."""
    if len(name) > NAME_CHARACTERS_MAX:
        return None
    try:
        raw = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4))
    except (binascii.Error, ValueError):
        return None
    seal, said = raw[:SEAL_BYTES], raw[SEAL_BYTES:]
    if not hmac.compare_digest(seal, _seal(said, owner, key)):
        return None
    return TaskId(*json.loads(said))


def _seal(said: bytes, owner: str, key: bytes) -> bytes:
    whose = owner.encode("utf-8", "surrogatepass") + b"\x00"
    return blake2b(whose + said, key=key, person=b"penstock-task", digest_size=SEAL_BYTES).digest()
