"""A Google Cloud token by workload identity federation, as a service account where one is named.

The subject token comes from a file (a projected service account token); Google's STS gives
a federated token for it (RFC 8693), which may then impersonate a service account.
"""

from __future__ import annotations

from penstock.route.credentials.ask import ask_json
from penstock.route.credentials.exchange import ACCESS_TOKEN, GRANT, JWT
from penstock.route.credentials.fetched import Fetched, SourceError, lifetime, usable
from penstock.route.credentials.file import read
from penstock.route.credentials.oauth import token
from penstock.route.credentials.parse import moment
from penstock.route.credentials.spec import Spec

STS = "https://sts.googleapis.com/v1/token"
IMPERSONATION = "https://iamcredentials.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LEASE_SECONDS = 3600


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """A token of the identity. SourceError says why there is none."""
    ca = spec.get("ca")
    answer = ask_json(
        spec.get("sts") or STS,
        form={
            "grant_type": GRANT,
            "audience": spec.get("audience"),
            "scope": SCOPE,
            "requested_token_type": ACCESS_TOKEN,
            "subject_token_type": JWT,
            "subject_token": usable(read(spec.get("token_file"))),
        },
        ca=ca,
    )
    federated = token(answer, now)
    account = spec.get("service_account")
    if not account:
        return federated
    answer = ask_json(
        f"{(spec.get('iam') or IMPERSONATION).rstrip('/')}/v1/projects/-/serviceAccounts/"
        f"{account}:generateAccessToken",
        headers={"authorization": f"Bearer {federated.value}"},
        document={"scope": [spec.get("scope") or SCOPE], "lifetime": f"{LEASE_SECONDS}s"},
        ca=ca,
    )
    expires_at = moment(answer.get("expireTime"))
    if expires_at is None:
        raise SourceError("the answer says no expiry")
    return Fetched(usable(answer.get("accessToken")), *lifetime(now, expires_at - now))
