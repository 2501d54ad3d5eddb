"""A key from an environment variable of the proxy. It cannot change while the proxy runs."""

from __future__ import annotations

import os

from penstock.route.credentials.fetched import Fetched, SourceError
from penstock.route.credentials.parse import credential
from penstock.route.credentials.spec import Spec


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """The variable's value. SourceError when it is not set or no key."""
    name = spec.get("variable")
    if name not in os.environ:
        raise SourceError(f"the variable {name} is not set")
    value, expires_at = credential(spec, os.environ[name])
    return Fetched(value, None, expires_at, stale_seconds=float("inf"))
