"""Token exchange (RFC 8693): a token for the destination's audience in place of another one.

The subject is the caller's own token (as it authenticated to the proxy), so that the
destination sees who is behind the call, or a workload's token from a file.
"""

from __future__ import annotations

from penstock.route.credentials.ask import ask_json
from penstock.route.credentials.fetched import Fetched, SourceError, usable
from penstock.route.credentials.file import read
from penstock.route.credentials.oauth import client, token, wanted
from penstock.route.credentials.spec import Spec

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """A token for the audience. SourceError says why there is none."""
    if file := spec.get("subject_file"):
        subject = read(file)
    if not subject:
        raise SourceError("the caller brought no token that could be exchanged")
    form = {
        "grant_type": GRANT,
        "subject_token": usable(subject),
        "subject_token_type": spec.get("subject_type") or JWT,
        "requested_token_type": ACCESS_TOKEN,
        **wanted(spec),
    }
    answer = ask_json(spec.get("token_url"), form=form, headers=client(spec), ca=spec.get("ca"))
    return token(answer, now)
