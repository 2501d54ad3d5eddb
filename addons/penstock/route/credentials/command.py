"""A key from a command's output (``pass``, ``gcloud auth print-access-token``, a company tool).

The command is a list from the policy, run without a shell, bounded in time and output. Its
stderr is dropped: nobody knows what it prints there.
"""

from __future__ import annotations

import subprocess
import tempfile

from penstock.route.credentials.fetched import KEY_CHARACTERS_MAX, Fetched, SourceError, lifetime
from penstock.route.credentials.parse import credential
from penstock.route.credentials.spec import Spec

# A caller waits for the first run; company tools that ask a server take seconds.
RUN_SECONDS = 10.0
EVERY_SECONDS = 600
# While the command fails, what it gave last is most probably still good.
STALE_SECONDS = 3600.0


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """What the command prints. SourceError says why there is nothing."""
    arguments = list(spec.get("arguments"))
    with tempfile.TemporaryFile() as out:
        try:
            done = subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                timeout=RUN_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SourceError(f"{arguments[0]} took longer than {RUN_SECONDS:g} s") from None
        except OSError as error:
            raise SourceError(f"{arguments[0]} cannot be run: {error.strerror}") from None
        if done.returncode != 0:
            raise SourceError(f"{arguments[0]} ended with {done.returncode}")
        out.seek(0)
        printed = out.read(KEY_CHARACTERS_MAX + 2)
    value, expires_at = credential(spec, printed.decode("utf-8", "replace"))
    if expires_at is not None:
        return Fetched(value, *lifetime(now, expires_at - now))
    every = float(spec.get("every") or EVERY_SECONDS)
    return Fetched(value, now + every, stale_seconds=STALE_SECONDS)
