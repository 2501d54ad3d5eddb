"""Each source: what it asks, what it makes of the answer, and how it fails without a secret."""

from __future__ import annotations

import base64
import json
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from penstock.route.credentials.ask import address_problem
from penstock.route.credentials.fetched import AwsKeys, Fetched, SourceError
from penstock.route.credentials.spec import Form, Spec
from penstock.route.credentials.store import source
from tests.harness import https_server
from tests.route.token_server import Asked, Reply, token_server

NOW = 1_800_000_000.0
TOKEN = "the-real-token-0123456789"
SUBJECT = "subject-token-of-the-pod"


def spec_of(kind: str, form: Form | None = None, **values: Any) -> Spec:
    return Spec(kind, tuple(sorted(values.items())), form)


def fetched(kind: str, form: Form | None = None, subject: str | None = None, **v: Any) -> Fetched:
    spec = spec_of(kind, form, **v)
    return source(spec)(spec, NOW, subject)


@pytest.fixture
def subject(tmp_path: Path) -> str:
    file = tmp_path / "token"
    file.write_text(SUBJECT + "\n")
    return str(file)


def bearer(asked: Asked) -> Reply:
    return 200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 1000}


# --------------------------------------------------------------------------- this machine


def test_file(tmp_path: Path) -> None:
    """The line end goes; the next call after a second looks again."""
    file = tmp_path / "key"
    file.write_text(TOKEN + "\n")
    found = fetched("file", path=str(file))
    assert (found.value, found.renew_at, found.waits) == (TOKEN, NOW + 1, True)
    assert TOKEN not in repr(found)


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"two words here", b"line\nline line", b"\xff\xfe" * 9, b"x" * 99_999],
)
def test_what_cannot_be_a_key_is_none(tmp_path: Path, content: bytes) -> None:
    """Empty, too short, with blanks, binary, too long: an error that repeats none of it."""
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(SourceError) as raised:
        fetched("file", path=str(file))
    assert "two words" not in str(raised.value)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable, read once."""
    monkeypatch.setenv("THE_KEY", TOKEN)
    assert fetched("environment", variable="THE_KEY").value == TOKEN
    with pytest.raises(SourceError, match="NO_KEY is not set"):
        fetched("environment", variable="NO_KEY")


def test_aws_keys_in_a_file(tmp_path: Path) -> None:
    """As credential_process writes them, with their expiry."""
    file = tmp_path / "aws.json"
    keys = {
        "AccessKeyId": "AKIAEXAMPLE",
        "SecretAccessKey": "secret-key",
        "SessionToken": "session-1",
    }
    file.write_text(json.dumps(keys | {"Version": 1, "Expiration": "2027-01-15T09:00:00Z"}))
    found = fetched("file", "sigv4", path=str(file))
    assert found.value == AwsKeys("AKIAEXAMPLE", "secret-key", "session-1")
    assert found.expires_at == 1_800_003_600 and found.secrets == ("secret-key", "session-1")
    file.write_text(TOKEN)
    with pytest.raises(SourceError, match="JSON object"):
        fetched("file", "sigv4", path=str(file))


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def test_command() -> None:
    """What it prints; again after ``every``, ahead of time."""
    found = fetched("command", arguments=python(f"print({TOKEN!r})"), every=60)
    assert (found.value, found.renew_at, found.expires_at) == (TOKEN, NOW + 60, None)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (python(f"import sys; print({TOKEN!r}); sys.exit(3)"), "ended with 3"),
        (python("print('x' * 10_000_000)"), "no key"),
        (("/no/such/program",), "cannot be run"),
        (python("import sys; sys.exit('the-real-token-0123456789')"), "ended with 1"),
    ],
)
def test_a_failing_command_says_how(arguments: tuple[str, ...], why: str) -> None:
    """Exit code, flood of output, no such file: told without its output."""
    with pytest.raises(SourceError, match=why) as raised:
        fetched("command", arguments=arguments)
    assert TOKEN not in "".join(traceback.format_exception(raised.value))


def test_a_hanging_command_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has so many seconds."""
    monkeypatch.setattr("penstock.route.credentials.command.RUN_SECONDS", 0.2)
    with pytest.raises(SourceError, match="took longer"):
        fetched("command", arguments=python("import time; time.sleep(60)"))


# --------------------------------------------------------------------------- services


def test_vault_by_kubernetes_login(subject: str) -> None:
    """KV version 2 after a login with the service account's token."""

    def vault(asked: Asked) -> Reply:
        if asked.path == "/v1/auth/kubernetes/login":
            assert json.loads(asked.body) == {"role": "penstock", "jwt": SUBJECT}
            return 200, {"auth": {"client_token": "vault-token-1", "lease_duration": 60}}
        assert asked.path == "/v1/secret/data/openai"
        assert asked.headers["x-vault-token"] == "vault-token-1"
        assert asked.headers["x-vault-namespace"] == "team"
        return 200, {"data": {"data": {"key": TOKEN}, "metadata": {}}, "lease_duration": 0}

    with token_server(vault) as server:
        values = {"address": server.url, "path": "secret/data/openai", "namespace": "team"}
        found = fetched("vault", role="penstock", service_account_file=subject, **values)
        assert (found.value, found.renew_at) == (TOKEN, NOW + 300)
        with pytest.raises(SourceError, match="no field 'other'"):
            fetched("vault", role="penstock", service_account_file=subject, field="other", **values)


def test_vaults_aws_engine_gives_leased_keys(subject: str) -> None:
    """Short-lived keys that sign requests, renewed ahead of the lease's end."""
    data = {"access_key": "AKIAEXAMPLE", "secret_key": "secret-key", "security_token": None}
    answer = {"lease_id": "aws/creds/x/1", "lease_duration": 400, "data": data}
    with token_server(lambda _: (200, answer)) as server:
        values = {"address": server.url, "path": "aws/creds/bedrock", "token_file": subject}
        found = fetched("vault", "sigv4", **values)
    assert found.value == AwsKeys("AKIAEXAMPLE", "secret-key")
    assert (found.renew_at, found.expires_at) == (NOW + 300, NOW + 400)


def test_oauth_client_credentials(subject: str) -> None:
    """The client proves itself by Basic; the form says what for."""
    with token_server(bearer) as server:
        values = {"token_url": f"{server.url}/token", "client_id": "pen:stock", "scope": "a b"}
        found = fetched("oauth", client_secret_file=subject, audience="api", **values)
    assert (found.value, found.renew_at, found.expires_at) == (TOKEN, NOW + 750, NOW + 1000)
    pair = base64.b64decode(server.asked[0].headers["authorization"].removeprefix("Basic "))
    assert pair.decode() == f"pen%3Astock:{SUBJECT}"
    form = {"grant_type": "client_credentials", "scope": "a b", "audience": "api"}
    assert server.asked[0].form == form


def test_token_exchange_for_the_caller_and_for_a_file(subject: str) -> None:
    """RFC 8693: the caller's own token, or the pod's; for one audience."""
    with token_server(bearer) as server:
        values = {"token_url": f"{server.url}/token", "audience": "https://mcp.example"}
        assert fetched("exchange", subject="callers-own-jwt", **values).value == TOKEN
        assert fetched("exchange", subject_file=subject, **values).value == TOKEN
        with pytest.raises(SourceError, match="brought no token"):
            fetched("exchange", **values)
    forms = [asked.form for asked in server.asked]
    assert [form["subject_token"] for form in forms] == ["callers-own-jwt", SUBJECT]
    assert forms[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
    assert forms[0]["audience"] == "https://mcp.example"


def test_azure_workload_identity(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the webhook are enough; the federated token is the assertion."""
    with token_server(bearer) as server:
        monkeypatch.setenv("AZURE_TENANT_ID", "tenant-1")
        monkeypatch.setenv("AZURE_CLIENT_ID", "client-1")
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", subject)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", server.url + "/")
        assert fetched("azure").value == TOKEN
    asked = server.asked[0]
    assert asked.path == "/tenant-1/oauth2/v2.0/token"
    assert asked.form["client_assertion"] == SUBJECT and asked.form["client_id"] == "client-1"
    assert asked.form["scope"] == "https://cognitiveservices.azure.com/.default"
    monkeypatch.delenv("AZURE_TENANT_ID")
    with pytest.raises(SourceError, match="tenant"):
        fetched("azure")


def test_google_federation_and_impersonation(subject: str) -> None:
    """STS gives a federated token; with it the service account's is asked for."""

    def google(asked: Asked) -> Reply:
        if asked.path == "/v1/token":
            return 200, {"access_token": "federated-token", "expires_in": 3600}
        assert asked.path == "/v1/projects/-/serviceAccounts/a@b.iam:generateAccessToken"
        assert asked.headers["authorization"] == "Bearer federated-token"
        return 200, {"accessToken": TOKEN, "expireTime": "2027-01-15T08:16:40Z"}

    with token_server(google) as server:
        values = {"audience": "//iam/p", "token_file": subject, "sts": f"{server.url}/v1/token"}
        assert fetched("google", **values).value == "federated-token"
        found = fetched("google", service_account="a@b.iam", iam=server.url, **values)
    assert (found.value, found.renew_at, found.expires_at) == (TOKEN, NOW + 750, NOW + 1000)
    assert server.asked[0].form["subject_token"] == SUBJECT


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}/"
    server.stop()


def test_aws_web_identity_against_moto(
    moto: str, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AssumeRoleWithWebIdentity as STS answers it: keys with a session token and an expiry."""
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/bedrock")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", subject)
    spec = spec_of("aws", "sigv4", endpoint=moto)
    found = source(spec)(spec, time.time(), None)
    assert isinstance(found.value, AwsKeys) and found.value.access_key_id.startswith("ASIA")
    assert found.value.session_token and found.expires_at
    assert 3500 < found.expires_at - time.time() < 3700
    assert found.renew_at and found.renew_at < found.expires_at - 600


# --------------------------------------------------------------------------- failing

BAD: list[Reply] = [
    (401, {"error": "invalid_client", "error_description": f"bad {SUBJECT} {TOKEN}"}),
    (500, {"error": f"secret {TOKEN}"}),
    (302, {}),
    (200, b"<html>the-real-token-0123456789"),
    (200, ["the-real-token-0123456789"]),
    (200, {"access_token": "with blank the-real-token-0123456789"}),
    (200, {"access_token": TOKEN, "token_type": "mac"}),
    (200, {}),
    (200, b"x" * 2_000_000),
]


@pytest.mark.parametrize("reply", BAD, ids=lambda reply: str(reply)[:30])
def test_a_bad_answer_is_an_error_without_its_text(reply: Reply, subject: str) -> None:
    """Refused, redirected, not JSON, too large, not a token: nothing of it is repeated."""
    with token_server(lambda _: reply) as server, pytest.raises(SourceError) as raised:
        fetched("exchange", token_url=f"{server.url}/t", subject_file=subject)
    told = "".join(traceback.format_exception(raised.value))
    assert TOKEN not in told and SUBJECT not in told
    assert len(server.asked) == 1  # no redirect was followed


def test_nobody_there_and_nobody_trusted(subject: str, tmp_path: Path) -> None:
    """A closed port and a server under another CA are named by host only."""
    with pytest.raises(SourceError, match=r"127\.0\.0\.1 could not be asked"):
        fetched("exchange", token_url="http://127.0.0.1:9/t", subject_file=subject)

    async def tokens(_request: Request) -> JSONResponse:
        return JSONResponse({"access_token": TOKEN, "token_type": "Bearer"})

    application = Starlette(routes=[Route("/t", tokens, methods=["POST"])])
    with https_server(tmp_path / "tls", application, ["localhost"]) as server:
        values = {"token_url": f"https://localhost:{server.port}/t", "subject_file": subject}
        with pytest.raises(SourceError, match="localhost could not be verified"):
            fetched("exchange", **values)
        assert fetched("exchange", ca=str(server.ca), **values).value == TOKEN


def test_questions_go_past_proxies(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables (they name ourselves) are not heeded."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with token_server(bearer) as server:
        assert fetched("exchange", token_url=server.url, subject_file=subject).value == TOKEN


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://vault.example:8200", True),
        ("http://127.0.0.1:8200", True),
        ("http://localhost/t", True),
        ("http://vault.example", False),
        ("https://user:pass@vault.example", False),
        ("ftp://vault.example", False),
        ("vault.example", False),
        ("https://", False),
        ("https://host:99999", False),
        ("http://localhost.evil.example", False),
    ],
)
def test_secrets_are_asked_for_over_tls(url: str, fine: bool) -> None:
    """https, or this machine."""
    assert (address_problem(url) is None) == fine
