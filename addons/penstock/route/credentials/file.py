"""A key from a file: a mounted secret, read again when it changes.

Kubernetes replaces mounted secrets by renaming a link, so a look costs one ``open`` and is
taken at most once a second, by the first call that comes.
"""

from __future__ import annotations

from pathlib import Path

from penstock.route.credentials.fetched import KEY_CHARACTERS_MAX, Fetched, SourceError
from penstock.route.credentials.parse import credential
from penstock.route.credentials.spec import Spec

LOOK_SECONDS = 1.0
# A file that is being rewritten in place is empty for a moment; one that stays away is withdrawn.
STALE_SECONDS = 30.0


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """The file's content. SourceError says why there is none."""
    value, expires_at = credential(spec, read(spec.get("path")))
    return Fetched(value, now + LOOK_SECONDS, expires_at, waits=True, stale_seconds=STALE_SECONDS)


def read(path: str) -> str:
    """The text of a small file. SourceError says why there is none."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(KEY_CHARACTERS_MAX + 2)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not text") from None
