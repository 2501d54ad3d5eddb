"""The installation's secret: one random file, one derived key per purpose.

Placeholders, credential fingerprints and digests stay the same over restarts and differ
between installations; nobody without the file can test a guess against them.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

SECRET_BYTES = 32


@dataclass(slots=True, frozen=True)
class Keys:
    """Derived keys, 32 bytes each."""

    placeholders: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)
    digest: bytes = field(repr=False)


def derive(secret: bytes) -> Keys:
    """One key per purpose (BLAKE2b with a personalisation string, RFC 7693)."""

    def key(purpose: bytes) -> bytes:
        return blake2b(key=secret, person=purpose, digest_size=32).digest()

    return Keys(key(b"placeholders"), key(b"fingerprint"), key(b"digest"))


def load_or_create(state_dir: Path) -> Keys:
    """The keys of this installation; makes ``STATE_DIR/secret`` (0600) on first use.

    Two processes that start together agree: the file appears whole, by link, once.

    Raises:
        ValueError: the file is not one of ours.
    """
    path = state_dir / "secret"
    if not path.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        draft = state_dir / f".secret-{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first; its secret counts
        finally:
            draft.unlink()
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"{path} is not a penstock secret ({len(secret)} bytes); remove it")
    return derive(secret)
