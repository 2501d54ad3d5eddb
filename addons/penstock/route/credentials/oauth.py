"""OAuth tokens: client credentials (RFC 6749 section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.route.credentials.ask import ask_json, basic
from penstock.route.credentials.fetched import Fetched, SourceError, lifetime, usable
from penstock.route.credentials.file import read
from penstock.route.credentials.spec import Spec

# A service that does not say how long a token lasts (RFC 6749 section 5.1 only recommends it).
UNSTATED_SECONDS = 300
# Longer is a mistake of the service; a token is looked after at least once a day.
LEASE_SECONDS_MAX = 86_400


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """A token of the client. SourceError says why there is none."""
    form = {"grant_type": "client_credentials", **wanted(spec)}
    answer = ask_json(spec.get("token_url"), form=form, headers=client(spec), ca=spec.get("ca"))
    return token(answer, now)


def wanted(spec: Spec) -> dict[str, str]:
    """The parameters that say what the token is for."""
    return {name: value for name in ("scope", "audience", "resource") if (value := spec.get(name))}


def client(spec: Spec) -> dict[str, str]:
    """How the client proves itself, if it is told to (client_secret_basic)."""
    if not spec.get("client_id"):
        return {}
    secret = read(spec.get("client_secret_file")).strip() if spec.get("client_secret_file") else ""
    return {"authorization": basic(spec.get("client_id"), secret)}


def token(answer: Mapping[str, Any], now: float) -> Fetched:
    """The access token of a token endpoint's answer (RFC 6749 section 5.1)."""
    if str(answer.get("token_type", "bearer")).lower() not in ("bearer", "n_a"):
        raise SourceError("the token is not a bearer token")
    seconds = answer.get("expires_in", UNSTATED_SECONDS)
    try:
        lease = min(float(seconds), LEASE_SECONDS_MAX)
    except (TypeError, ValueError):
        lease = UNSTATED_SECONDS
    return Fetched(usable(answer.get("access_token")), *lifetime(now, lease))
