"""The public half of the CA in a directory of its own, for containers that share nothing else.

The state directory holds the CA's key, so it is not shared. Only certificates come here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

FILES = ("ca.pem", "ca-bundle.pem")


def publish(state_dir: Path, trust_dir: Path) -> None:
    """Copy the certificates from ``state_dir`` to ``trust_dir``, readable by all. OSError passes.

    Each file appears whole: a container that starts early finds none or all of it.
    """
    trust_dir.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        descriptor, draft = tempfile.mkstemp(dir=trust_dir, prefix=f".{name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write((state_dir / name).read_bytes())
                os.fchmod(file.fileno(), 0o644)
            Path(draft).replace(trust_dir / name)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
