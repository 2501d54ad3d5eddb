"""The installation's secret: one random file, one derived key per purpose.

Placeholders, credential fingerprints and digests stay the same over restarts and differ
between installations; nobody without the file can test a guess against them. Proxies that
share a policy with fingerprints share one file (PENSTOCK_SECRET_FILE, a mounted secret).
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

SECRET_BYTES = 32
SHARED_SECRET = "PENSTOCK_SECRET_FILE"  # noqa: S105 - the name of a variable


@dataclass(slots=True, frozen=True)
class Keys:
    """Derived keys, 32 bytes each."""

    placeholders: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    identity: bytes = field(default=b"", repr=False)


def derive(secret: bytes) -> Keys:
    """One key per purpose (BLAKE2b with a personalisation string, RFC 7693)."""

    def key(purpose: bytes) -> bytes:
        return blake2b(key=secret, person=purpose, digest_size=32).digest()

    # Twice as long: it is reduced to a number below the order of a curve.
    identity = blake2b(key=secret, person=b"identity", digest_size=64).digest()
    return Keys(key(b"placeholders"), key(b"fingerprint"), key(b"digest"), identity)


def shared_secret() -> Path | None:
    """The file PENSTOCK_SECRET_FILE names, if it names one."""
    stated = os.environ.get(SHARED_SECRET)
    return Path(stated) if stated else None


def load_or_create(state_dir: Path, shared: Path | None = None) -> Keys:
    """The keys of this installation; makes ``STATE_DIR/secret`` (0600) on first use.

    ``shared`` is read in its place and never made: 32 bytes (head -c 32 /dev/urandom).

    Two processes that start together agree: the file appears whole, by link, once.

    Raises:
        ValueError: the file is not one of ours.
        OSError: it cannot be read.
    """
    path = shared or state_dir / "secret"
    if shared is None and not path.exists():
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
        raise ValueError(
            f"{path} is not a penstock secret: {len(secret)} bytes, not {SECRET_BYTES}"
        )
    return derive(secret)
