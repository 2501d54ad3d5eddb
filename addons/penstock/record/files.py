"""Small writings in the state directory: whole or not at all, readable by the owner only."""

from __future__ import annotations

import os
from pathlib import Path

# Owner only: what is recorded names users, hosts and habits.
FILE_MODE = 0o600


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``; a reader sees the old or the new. OSError passes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
