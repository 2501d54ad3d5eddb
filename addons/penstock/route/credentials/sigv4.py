"""AWS Signature Version 4, for requests whose keys or body are ours.

Source: the Signature Version 4 documentation (canonical request, string to sign, signing key);
tested against botocore's signer. Paths are encoded once more, as every service but S3 wants.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from penstock.route.credentials.fetched import AwsKeys, SourceError

ALGORITHM = "AWS4-HMAC-SHA256"
# Replaced, or no longer true once the keys or the body are others.
REPLACED = frozenset(
    (b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256", b"date")
)
Fields = Sequence[tuple[bytes, bytes]]

_SCOPE = re.compile(
    rb"AWS4-\S{1,40} +Credential=[^/,\s]{1,128}/\d{8}/([a-z0-9-]{1,40})/([a-z0-9-]{1,40})/"
)
_HOST = re.compile(
    r"(?:[^.]+\.)*?(?P<service>[a-z][a-z0-9-]*)\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d{1,2})\."
    r"(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_BEDROCK = re.compile(r"bedrock(-agent)?(-runtime)?(-fips)?")


def scope_of(host: str, fields: Fields) -> tuple[str, str]:
    """(region, service) of a request: as its own signature says, else by the host's name.

    Raises:
        SourceError: neither says it.
    """
    for name, value in fields:
        if name.lower() == b"authorization" and (signed := _SCOPE.match(value)):
            return signed[1].decode(), signed[2].decode()
    match = _HOST.fullmatch(host.lower())
    if match is None:
        raise SourceError(f"{host} does not tell its AWS region")
    service = match["service"]
    return match["region"], "bedrock" if _BEDROCK.fullmatch(service) else service


def sign(
    method: str,
    host: str,
    path: str,
    fields: Fields,
    body: bytes,
    keys: AwsKeys,
    scope: tuple[str, str],
    moment: datetime,
) -> list[tuple[bytes, bytes]]:
    """The header fields with a new signature; ``path`` carries the query, as sent.

    ``host`` is the Host header's value. Signed are host, content-type and every x-amz field.
    """
    kept = [(name, value) for name, value in fields if name.lower() not in REPLACED]
    stamp = moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    kept.append((b"X-Amz-Date", stamp.encode()))
    if any(name.lower() == b"x-amz-content-sha256" for name, _ in fields):
        kept.append((b"X-Amz-Content-SHA256", digest.encode()))
    if keys.session_token:
        kept.append((b"X-Amz-Security-Token", keys.session_token.encode()))
    headers = _signed_headers(host, kept)
    names = ";".join(headers)
    place, _, query = path.partition("?")
    request = "\n".join(
        (
            method.upper(),
            _canonical_path(place),
            _canonical_query(query),
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            names,
            digest,
        )
    )
    region, service = scope
    where = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, stamp, where, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    value = (
        f"{ALGORITHM} Credential={keys.access_key_id}/{where}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return [*kept, (b"Authorization", value.encode())]


def _signed_headers(host: str, fields: Fields) -> dict[str, str]:
    """Names in order, values trimmed; a repeated field is joined with a comma."""
    found: dict[str, list[str]] = {"host": [host]}
    for raw_name, raw_value in fields:
        name = raw_name.decode("latin-1").lower()
        if name == "content-type" or name.startswith("x-amz-"):
            found.setdefault(name, []).append(" ".join(raw_value.decode("latin-1").split()))
    return {name: ",".join(found[name]) for name in sorted(found)}


def _canonical_path(path: str) -> str:
    """Dot segments and empty ones resolved, what is there encoded once more."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    end = "/" if segments and path.endswith("/") else ""
    return quote("/" + "/".join(segments) + end, safe="/~")


def _canonical_query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(f"{name}={value}" for name, value in sorted((n, v) for n, _, v in pairs))
