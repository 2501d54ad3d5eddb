"""Short-lived AWS keys for a web identity (EKS service accounts): STS AssumeRoleWithWebIdentity.

The variables EKS puts into a pod are the defaults, so ``from: {aws: {}}`` is enough there.
"""

from __future__ import annotations

import os
import re

from penstock.route.credentials.ask import ask
from penstock.route.credentials.fetched import Fetched, SourceError, lifetime, usable
from penstock.route.credentials.file import read
from penstock.route.credentials.parse import aws_keys, moment
from penstock.route.credentials.spec import Spec

API_VERSION = "2011-06-15"
LEASE_SECONDS = 3600  # what every role allows
FIELDS = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """Keys of the role. SourceError says why there are none."""
    role = spec.get("role") or os.environ.get("AWS_ROLE_ARN", "")
    file = spec.get("token_file") or os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", "")
    if not role or not file:
        raise SourceError("no role or token_file: neither in the rule nor in AWS_ROLE_ARN, "
                          "AWS_WEB_IDENTITY_TOKEN_FILE")  # fmt: skip
    content = ask(
        spec.get("endpoint") or _endpoint(spec),
        form={
            "Action": "AssumeRoleWithWebIdentity",
            "Version": API_VERSION,
            "RoleArn": role,
            "RoleSessionName": spec.get("session") or "penstock",
            "WebIdentityToken": usable(read(file)),
            "DurationSeconds": str(LEASE_SECONDS),
        },
        headers={"accept": "application/xml"},
        ca=spec.get("ca"),
    )
    values = _fields(content.decode("utf-8", "replace"))
    expires_at = moment(values.get("Expiration"))
    keys = aws_keys(values)
    return Fetched(keys, *lifetime(now, LEASE_SECONDS if expires_at is None else expires_at - now))


def _endpoint(spec: Spec) -> str:
    region = spec.get("region") or os.environ.get("AWS_REGION", "")
    if not REGION.fullmatch(region):
        raise SourceError("no region: neither in the rule nor in AWS_REGION")
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _fields(document: str) -> dict[str, str]:
    """The credentials of the answer. Its values are plain words: no XML parser is needed."""
    found = {name: re.search(rf"<{name}>([^<]{{1,32768}})</{name}>", document) for name in FIELDS}
    return {name: match[1] for name, match in found.items() if match}
