"""Our Signature Version 4 is the one AWS's own SDK makes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from penstock.route.credentials.fetched import AwsKeys, SourceError
from penstock.route.credentials.sigv4 import scope_of, sign

MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOST = "bedrock-runtime.eu-west-1.amazonaws.com"
SCOPE = ("eu-west-1", "bedrock")
words = st.text("abzAZ09-_.~ :/%+é=", min_size=1, max_size=12)


def theirs(
    path: str, fields: list[tuple[bytes, bytes]], body: bytes, keys: AwsKeys, method: str = "POST"
) -> str:
    """The Authorization botocore makes for the same request at the same moment."""
    headers = {name.decode(): value.decode() for name, value in fields} | {"Host": HOST}
    request = AWSRequest(method=method, url=f"https://{HOST}{path}", data=body, headers=headers)
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    signer = botocore.auth.SigV4Auth(credentials, "bedrock", "eu-west-1")
    real = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *_, **__: MOMENT
    try:
        signer.add_auth(request)
    finally:
        botocore.auth.get_current_datetime = real
    return str(request.headers["Authorization"])


def ours(
    path: str, fields: list[tuple[bytes, bytes]], body: bytes, keys: AwsKeys, method: str = "POST"
) -> str:
    signed = dict(sign(method, HOST, path, fields, body, keys, SCOPE, MOMENT))
    return signed[b"Authorization"].decode()


@given(
    segments=st.lists(words, max_size=4),
    query=st.lists(st.tuples(words, words), max_size=3),
    body=st.binary(max_size=200),
    token=st.none() | st.text("abc/+=", min_size=8, max_size=40),
    method=st.sampled_from(["POST", "GET"]),
)
def test_signatures_are_botocores(
    segments: list[str],
    query: list[tuple[str, str]],
    body: bytes,
    token: str | None,
    method: str,
) -> None:
    """Any path, query, body, with and without a session token: the same Authorization."""
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    if query:
        path += "?" + "&".join(f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in query)
    keys = AwsKeys("AKIAEXAMPLE", "secret/of+the=key", token)
    fields = [(b"Content-Type", b"application/json"), (b"X-Amz-Target", b"a  b")]
    assert ours(path, fields, body, keys, method) == theirs(path, fields, body, keys, method)


def test_a_model_with_a_colon_in_its_path() -> None:
    """Bedrock's model ids carry colons that SDKs encode once: signed twice encoded."""
    path = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke"
    keys = AwsKeys("AKIAEXAMPLE", "secret-of-the-key")
    assert ours(path, [], b"{}", keys) == theirs(path, [], b"{}", keys)


def test_an_old_signature_is_replaced() -> None:
    """What the caller signed with leaves: one Authorization, one date, its body hash renewed."""
    fields = [
        (b"Authorization", b"AWS4-HMAC-SHA256 Credential=OLD/20260101/eu-west-1/bedrock/x"),
        (b"X-Amz-Date", b"20260101T000000Z"),
        (b"X-Amz-Security-Token", b"old-session"),
        (b"X-Amz-Content-SHA256", b"old"),
        (b"User-Agent", b"Boto3"),
    ]
    keys = AwsKeys("AKIANEW", "secret-of-the-key", "new-session")
    signed = sign("POST", HOST, "/", fields, b"body", keys, SCOPE, MOMENT)
    names = [name.lower() for name, _ in signed]
    assert len(names) == len(set(names)) and (b"User-Agent", b"Boto3") in signed
    assert b"old" not in b" ".join(value for _, value in signed).lower().replace(b"gold", b"")
    names_signed = re.search("SignedHeaders=([^,]+)", dict(signed)[b"Authorization"].decode())
    assert names_signed and names_signed[1].split(";") == [
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
    ]


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        (HOST, SCOPE),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", ("us-gov-west-1", "bedrock")),
        ("bedrock-agent-runtime.us-east-1.amazonaws.com", ("us-east-1", "bedrock")),
        ("vpce-1-2.bedrock-runtime.us-east-1.vpce.amazonaws.com", ("us-east-1", "bedrock")),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", ("cn-north-1", "bedrock")),
        ("runtime.sagemaker.eu-central-1.amazonaws.com", ("eu-central-1", "sagemaker")),
    ],
)
def test_hosts_tell_region_and_service(host: str, scope: tuple[str, str]) -> None:
    """AWS names its endpoints by service and region."""
    assert scope_of(host, []) == scope


def test_the_callers_own_scope_counts_first() -> None:
    """A private endpoint tells nothing; the caller's signature does."""
    old = b"AWS4-HMAC-SHA256 Credential=AK/20260101/ap-south-1/bedrock/aws4_request, S"
    assert scope_of("bedrock.internal", [(b"Authorization", old)]) == ("ap-south-1", "bedrock")
    with pytest.raises(SourceError):
        scope_of("bedrock.internal", [])
    with pytest.raises(SourceError):
        scope_of("amazonaws.com.evil.example", [])


def test_keys_do_not_show() -> None:
    """Neither repr nor an error carries the secret."""
    assert "secret" not in repr(AwsKeys("AKIA", "secret-value", "secret-token")).replace(
        "secret_access_key", ""
    )
