"""A running proxy that asks who calls: passwords, tokens, key rotation, and nothing unproved."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from penstock.caller.identity import CallerCheck, Identity, JwtCheck, NotProvedError
from penstock.caller.passwords import hashed
from penstock.proxy import authenticate
from penstock.proxy.authenticate import Authentication
from tests.harness import Penstock, Upstream, https_server, running_penstock
from tests.route.token_server import Asked, Reply, TokenServer, token_server
from tests.sdk.provider import Provider

ISSUER = "https://issuer.example"
POLICY = """
version: 1
name: caller-tests
callers:
  passwords: {folder}/callers
  jwt: {{issuer: {issuer}, audience: [penstock], keys: "{url}/keys", user: login}}
rules:
  - id: analysts-only
    deny: {{}}
    when: call.model == "gpt-5" && !(has(caller.claims.groups) && "analyst" in caller.claims.groups)
  - id: token-of-the-caller
    credential:
      hosts: [api.mistral.ai]
      from: {{exchange: {{token_url: "{url}/token", audience: mistral}}}}
"""


class Issuer:
    """Serves the keys it has at the moment, and exchanges tokens."""

    def __init__(self) -> None:
        self.keys = [RSAKey.generate_key(2048, {"kid": "k1"})]

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/keys":
            return 200, {"keys": [key.as_dict(private=False) for key in self.keys]}
        subject = asked.form["subject_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(subject + "=="))
        return 200, {"access_token": f"exchanged-for-{claims['login']}", "expires_in": 600}

    def token(self, key: int = -1, **more: Any) -> str:
        claims = {"iss": ISSUER, "aud": "penstock", "login": "ada", **more}
        claims.setdefault("exp", int(time.time()) + 600)
        signer = self.keys[key]
        return jwt.encode({"alg": "RS256", "kid": signer.kid}, claims, signer)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def tokens(issuer: Issuer) -> Iterator[TokenServer]:
    with token_server(issuer.answer) as server:
        yield server


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def upstream(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    hosts = ["api.openai.com", "api.mistral.ai", "plain.example"]
    folder = tmp_path_factory.mktemp("provider")
    with https_server(folder, provider.application, hosts) as started:
        yield started


@pytest.fixture(scope="module")
def proxy(
    upstream: Upstream, tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("penstock")
    (folder / "callers").write_text(f"bob:{hashed('bobs password')}\n")
    policy = POLICY.format(folder=folder, issuer=ISSUER, url=tokens.url)
    with running_penstock(folder, policy, upstream) as started:
        yield started


def through(proxy: Penstock, credentials: str, **headers: str) -> httpx.Client:
    """A client whose proxy URL holds ``name:password``."""
    url = proxy.url.replace("://", f"://{credentials}@") if credentials else proxy.url
    context = ssl.create_default_context(cafile=str(proxy.state / "ca.pem"))
    forwarding = httpx.Proxy(url, headers=headers or None)
    return httpx.Client(proxy=forwarding, verify=context)


def chat(client: httpx.Client, model: str = "gpt-5-mini", host: str = "api.openai.com") -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return client.post(f"https://{host}/v1/chat/completions", json=body).status_code


def raw(proxy: Penstock, request: str) -> bytes:
    with socket.create_connection(proxy.address, timeout=10) as plain:
        plain.sendall(request.replace("\n", "\r\n").encode())
        return plain.recv(65536)


@pytest.mark.parametrize("host", ["api.openai.com:443", "plain.example:443"])
def test_nobody_passes_unknown(proxy: Penstock, host: str) -> None:
    """CONNECT without a proof: 407, how to prove it, and a body that says so; tunnels, too."""
    answer = raw(proxy, f"CONNECT {host} HTTP/1.1\nhost: {host}\n\n").decode().lower()
    assert answer.startswith("http/1.1 407 ")
    assert 'proxy-authenticate: basic realm="penstock"' in answer
    assert 'proxy-authenticate: bearer realm="penstock"' in answer
    error = json.loads(answer.partition("\r\n\r\n")[2])["error"]
    assert error["code"] == "proxy_authentication_required"
    assert "penstock_callers_refused_total" in proxy.metrics()


def test_plain_requests_are_asked_too(proxy: Penstock) -> None:
    """A forward request without a tunnel, in clear."""
    answer = raw(proxy, "GET http://plain.example/ HTTP/1.1\nhost: plain.example\n\n")
    assert answer.startswith(b"HTTP/1.1 407 ")


@pytest.mark.parametrize(
    "credentials", ["bob:wrong", "eve:bobs password", "bearer:not.a.token", "ada:"]
)
def test_a_wrong_proof_is_none(proxy: Penstock, credentials: str) -> None:
    """Client libraries say 407 in their own words."""
    with through(proxy, credentials) as client, pytest.raises(httpx.ProxyError, match="407"):
        chat(client)


def test_a_password(proxy: Penstock) -> None:
    """The second connection does not wait for the hash again."""
    with through(proxy, "bob:bobs password") as client:
        assert chat(client) == 200
    with through(proxy, "bob:bobs password") as client:
        assert chat(client) == 200
    (one, two) = [r for r in proxy.records(2) if r["caller"].get("user") == "bob"][:2]
    assert one["verdict"] == two["verdict"] == "allow"


def test_a_token_in_either_place(proxy: Penstock, issuer: Issuer, provider: Provider) -> None:
    """As a Bearer, and as the password of the user bearer; never passed on."""
    with through(proxy, f"bearer:{issuer.token()}") as client:
        assert chat(client) == 200
    header = {"Proxy-Authorization": f"Bearer {issuer.token()}"}
    with through(proxy, "", **header) as client:
        assert chat(client) == 200
    assert not any("proxy-authorization" in headers for headers in provider.headers)
    users = [record["caller"].get("user") for record in proxy.records(2)]
    assert users.count("ada") >= 2


def test_sdks_use_the_proxys_url(
    proxy: Penstock, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The OpenAI SDK with the proof in HTTPS_PROXY, and without."""
    for name, value in proxy.environment.items():
        monkeypatch.setenv(name, value)
    text: list[Any] = [{"role": "user", "content": "hi"}]
    refused = openai.OpenAI(api_key="x", max_retries=0)
    with pytest.raises(openai.APIConnectionError):
        refused.chat.completions.create(model="gpt-5-mini", messages=text)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy.url.replace("://", f"://bearer:{issuer.token()}@"))
    made = openai.OpenAI(api_key="x", max_retries=0)
    assert made.chat.completions.create(model="gpt-5-mini", messages=text).choices


def test_conditions_see_the_claims(proxy: Penstock, issuer: Issuer) -> None:
    """Who is in the group may, who is not may not; a password brings no claims."""
    for credentials, status in (
        (f"bearer:{issuer.token(groups=['analyst'])}", 200),
        (f"bearer:{issuer.token(groups=['sales'])}", 403),
        (f"bearer:{issuer.token()}", 403),
        ("bob:bobs password", 403),
    ):
        with through(proxy, credentials) as client:
            assert chat(client, "gpt-5") == status


def test_a_callers_token_is_exchanged_for_the_destinations(
    proxy: Penstock, issuer: Issuer, provider: Provider
) -> None:
    """RFC 8693: the destination sees a token of its own audience for the person behind the call."""
    for login in ("ada", "eve"):
        with through(proxy, f"bearer:{issuer.token(login=login)}") as client:
            assert chat(client, "mistral-small", "api.mistral.ai") == 200
            assert provider.headers[-1]["authorization"] == f"Bearer exchanged-for-{login}"
    with through(proxy, "bob:bobs password") as client:
        assert chat(client, "mistral-small", "api.mistral.ai") == 403


def test_a_proof_ends_inside_a_tunnel(proxy: Penstock, issuer: Issuer) -> None:
    """A tunnel that was opened with a token lives no longer than the token."""
    short = issuer.token(exp=int(time.time()) - 27)  # valid for the clock leeway only
    with through(proxy, f"bearer:{short}") as client:
        assert chat(client) == 200
        time.sleep(4)
        assert chat(client) == 407
        with pytest.raises(httpx.ProxyError, match="407"):  # a new tunnel, asked anew
            chat(client)


def test_a_new_key_is_fetched_when_a_token_names_it(proxy: Penstock, issuer: Issuer) -> None:
    """Rotation needs no restart; a key that left the set proves nothing."""
    old = issuer.token()
    time.sleep(authenticate.KEYS_AGAIN_SECONDS)
    issuer.keys.append(RSAKey.generate_key(2048, {"kid": "k2"}))
    with through(proxy, f"bearer:{issuer.token(jti='new')}") as client:
        assert chat(client) == 200
    with through(proxy, f"bearer:{old}") as client:
        assert chat(client) == 200


def test_no_proof_is_written_down(proxy: Penstock, issuer: Issuer) -> None:
    """Log, state and metrics hold no password and no token."""
    token = issuer.token()
    with through(proxy, f"bearer:{token}") as client:
        assert chat(client) == 200
    written = b"".join(p.read_bytes() for p in proxy.state.parent.rglob("*") if p.is_file())
    written += proxy.metrics().encode()
    for part in (b"bobs password", token.encode(), token.split(".")[1].encode(), b"exchanged-for"):
        assert part not in written


# --------------------------------------------------------------------------- key sets


CHECK = JwtCheck(ISSUER, ("penstock",), "https://issuer.example/keys")


class KeyService:
    """A key set's source that counts, and can be made to fail or to wait."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.calls, self.fails = issuer, 0, False
        self.go = threading.Event()
        self.go.set()

    def __call__(self, check: JwtCheck) -> bytes:
        assert self.go.wait(5)
        self.calls += 1
        if self.fails:
            raise NotProvedError("the issuer is away")
        return json.dumps(self.issuer.answer(Asked("GET", "/keys", {}, b""))[1]).encode()


async def proved(held: Authentication, header: str) -> Identity:
    found = held.prove(header)
    return found if isinstance(found, Identity) else await found


async def test_unknown_keys_do_not_make_a_storm(issuer: Issuer) -> None:
    """A flood of tokens with invented keys costs one fetch in ten seconds; the loop is free."""
    service, clock = KeyService(issuer), [time.time()]
    held = Authentication(CallerCheck(jwt=CHECK), service, lambda: clock[0])
    service.go.clear()
    waiting = asyncio.create_task(proved(held, f"Bearer {issuer.token()}"))
    await asyncio.sleep(0.05)
    assert not waiting.done()  # and yet we are here
    service.go.set()
    assert (await waiting).user is None  # no sub in these tokens
    stranger = Issuer()
    stranger.keys = [RSAKey.generate_key(2048, {"kid": "invented"})]
    for number in range(30):
        with pytest.raises(NotProvedError):
            await proved(held, f"Bearer {stranger.token(jti=str(number))}")
    assert service.calls == 1


async def test_an_issuer_that_is_away_is_believed_for_an_hour(issuer: Issuer) -> None:
    """Its last keys serve while it is away, and not for ever."""
    service, clock = KeyService(issuer), [time.time()]
    held = Authentication(CallerCheck(jwt=CHECK), service, lambda: clock[0])
    late = int(clock[0]) + 100_000
    await proved(held, f"Bearer {issuer.token(exp=late)}")
    service.fails = True
    clock[0] += authenticate.KEYS_RENEW_SECONDS + 1
    await proved(held, f"Bearer {issuer.token(exp=late, jti='2')}")
    await asyncio.sleep(0.05)
    assert service.calls == 2
    clock[0] += authenticate.KEYS_SECONDS_MAX
    with pytest.raises(NotProvedError, match="away"):
        await proved(held, f"Bearer {issuer.token(exp=late, jti='3')}")


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Digest x", "Bearer", "Basic Og=="])
async def test_a_malformed_header_proves_nothing(tmp_path: Path, header: str) -> None:
    """Refused at once, without a hash or a fetch."""
    held = Authentication(CallerCheck(passwords=str(tmp_path / "none")))
    with pytest.raises(NotProvedError):
        held.prove(header)
