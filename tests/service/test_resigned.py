"""An edited Bedrock call arrives with a signature that is valid, by keys the caller never had."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.harness import Penstock, Upstream, https_server, running_penstock

HOST = "bedrock-runtime.eu-west-1.amazonaws.com"
KEYS = {
    "AccessKeyId": "AKIAREALKEYOFOURS",
    "SecretAccessKey": "real/secret+canary-of-the-account",
    "SessionToken": "real-session-token-canary==",
}
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
RULES = """
version: 1
name: bedrock
rules:
  - id: no-mail
    redact: {{find: [pii.email], in: [request], with: placeholder}}
{more}
"""
CREDENTIAL = """
  - id: bedrock-keys
    credential: {{hosts: [{host}], from: {{file: {file}}}, as: sigv4}}
"""


class Bedrock:
    """Checks signatures as AWS does: by making them again from what arrived."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.access_keys: list[str] = []
        self.application = Starlette(
            routes=[Route("/model/{model}/converse", self.converse, methods=["POST"])]
        )

    async def converse(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        authorization = request.headers["authorization"]
        self.access_keys.append(authorization.partition("Credential=")[2].partition("/")[0])
        expected = self.signature(request, body, authorization)
        if authorization != expected:
            told = f"The signature does not match; token {request.headers['x-amz-security-token']}"
            return JSONResponse({"message": told}, 403)
        text = "fine " + request.headers.get("x-amz-security-token", "")
        answer = {"message": {"role": "assistant", "content": [{"text": text}]}}
        usage = {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}
        metrics = {"latencyMs": 1}
        return JSONResponse(
            {"output": answer, "stopReason": "end_turn", "usage": usage, "metrics": metrics}
        )

    def signature(self, request: Request, body: bytes, authorization: str) -> str:
        names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        headers = {name: request.headers[name] for name in names if not name.startswith("x-amz-")}
        made = AWSRequest(
            "POST", f"https://{HOST}{request.scope['raw_path'].decode()}", headers, body
        )
        signed_at = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        signer = botocore.auth.SigV4Auth(
            Credentials(KEYS["AccessKeyId"], KEYS["SecretAccessKey"], KEYS["SessionToken"]),
            "bedrock",
            "eu-west-1",
        )
        real = botocore.auth.get_current_datetime
        botocore.auth.get_current_datetime = lambda *_, **__: signed_at.replace(tzinfo=UTC)
        try:
            signer.add_auth(made)
        finally:
            botocore.auth.get_current_datetime = real
        return str(made.headers["Authorization"])


@pytest.fixture(scope="module")
def bedrock() -> Bedrock:
    return Bedrock()


@pytest.fixture(scope="module")
def upstream(bedrock: Bedrock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("bedrock")
    with https_server(folder, bedrock.application, [HOST]) as started:
        yield started


def ask(proxy: Penstock, text: str) -> dict[str, Any]:
    """The real SDK with keys that are worth nothing."""
    client = boto3.client(
        "bedrock-runtime",
        region_name="eu-west-1",
        aws_access_key_id="AKIAWORTHLESS",
        aws_secret_access_key="worthless",
        config=Config(proxies={"https": proxy.url}, retries={"total_max_attempts": 1}),
        verify=str(proxy.state / "ca.pem"),
    )
    messages = [{"role": "user", "content": [{"text": text}]}]
    answer: dict[str, Any] = client.converse(modelId=MODEL, messages=messages)
    return answer


def test_an_edited_call_is_signed_again(
    bedrock: Bedrock, upstream: Upstream, tmp_path: Path
) -> None:
    """The mail address is gone, the signature is valid, and no part of the keys comes back."""
    keys = tmp_path / "aws.json"
    keys.write_text(json.dumps(KEYS))
    policy = RULES.format(more=CREDENTIAL.format(host=HOST, file=keys))
    with running_penstock(tmp_path / "proxy", policy, upstream) as proxy:
        for text in ("Write to ada@example.org", "nothing to hide"):
            answer = ask(proxy, text)
            assert answer["output"]["message"]["content"][0]["text"].startswith("fine ")
            assert "canary" not in json.dumps(answer)
            assert bedrock.access_keys[-1] == KEYS["AccessKeyId"]
        assert b"ada@example.org" not in b"".join(bedrock.bodies)
        assert b"PLACEHOLDER_EMAIL" in bedrock.bodies[0]
        keys.write_text(json.dumps(KEYS | {"SecretAccessKey": "another-secret"}))
        time.sleep(1.1)  # a file is looked at once a second
        with pytest.raises(ClientError) as raised:
            ask(proxy, "x")
        assert "does not match" in str(raised.value) and "canary" not in str(raised.value)
        written = b"".join(p.read_bytes() for p in proxy.state.rglob("*") if p.is_file())
        assert b"canary" not in written + proxy.log.read_bytes()


def test_without_keys_of_ours_an_edited_signed_call_is_refused(
    bedrock: Bedrock, upstream: Upstream, tmp_path: Path
) -> None:
    """It would arrive with a signature that no longer fits: said here, by the rule's name."""
    before = len(bedrock.bodies)
    with running_penstock(tmp_path, RULES.format(more=""), upstream) as proxy:
        with pytest.raises(ClientError, match="signed it") as raised:
            ask(proxy, "Write to ada@example.org")
        headers = raised.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert "rule=no-mail" in headers["penstock-decision"]
        assert len(bedrock.bodies) == before
