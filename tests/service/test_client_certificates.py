"""TLS on the proxy's own port: curl, openssl and httpx as HTTPS-proxy clients with certificates."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.caller.passwords import hashed
from tests.harness import Penstock, Upstream, https_server, running_penstock
from tests.openssl import Authority, Pair, needs_openssl
from tests.sdk.provider import Provider

CURL = shutil.which("curl")
SHOP = "spiffe://prod.example/ns/shop/sa/checkout"
POLICY = """
version: 1
name: certificates
callers:
  passwords: {passwords}
  mtls: {{ca: {ca}, names: ["spiffe://prod.example/*", "*.internal"]}}
rules:
  - id: shop-only
    deny: {{models: [gpt-5]}}
    when: caller.spiffe != "{shop}"
  - id: shops-namespace
    deny: {{models: [o3]}}
    when: caller.workload.namespace != "shop" || caller.user != "ada"
"""
BODY = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}]}

pytestmark = [needs_openssl]


@dataclass
class World:
    """A proxy that asks for certificates, and the authority of those."""

    proxy: Penstock
    authority: Authority
    folder: Path

    @property
    def url(self) -> str:
        return self.proxy.url.replace("http://", "https://")

    def client(self, pair: Pair | None, credentials: str = "") -> httpx.Client:
        """httpx over the proxy, with the pair's certificate towards the proxy."""
        towards = ssl.create_default_context(cafile=str(self.authority.pem))
        if pair is not None:
            towards.load_cert_chain(pair.certificate, pair.key)
        inside = ssl.create_default_context(cafile=str(self.proxy.state / "ca.pem"))
        url = self.url.replace("://", f"://{credentials}@") if credentials else self.url
        return httpx.Client(proxy=httpx.Proxy(url, ssl_context=towards), verify=inside, timeout=20)

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.proxy.admin}/status", timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("provider")
    with https_server(folder, Provider().application, ["api.openai.com"]) as started:
        yield started


@pytest.fixture(scope="module")
def world(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("penstock")
    authority = Authority(folder / "pki")
    own = authority.sign("proxy", "DNS:proxy.internal,IP:127.0.0.1")
    (folder / "callers").write_text(f"ada:{hashed('adas password')}\n")
    policy = POLICY.format(passwords=folder / "callers", ca=authority.pem, shop=SHOP)
    tls = ["--tls-cert", str(own.certificate), "--tls-key", str(own.key)]
    with running_penstock(folder / "run", policy, upstream, tls) as proxy:
        yield World(proxy, authority, folder)


def ask(client: httpx.Client, model: str = "gpt-5-mini") -> int:
    url = "https://api.openai.com/v1/chat/completions"
    return client.post(url, json=BODY | {"model": model}).status_code


def s_client(world: World, pair: Pair, *more: str) -> str:
    """What ``openssl s_client`` says of a connection to the proxy with this certificate."""
    host, port = world.proxy.address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-CAfile"]
    command += [str(world.authority.pem), "-cert", str(pair.certificate), "-key", str(pair.key)]
    question = b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n"
    done = subprocess.run(
        [*command, *more], input=question, capture_output=True, timeout=30, check=False
    )
    return (done.stdout + done.stderr).decode()


def test_httpx_with_a_spiffe_certificate(world: World) -> None:
    """The ID is what conditions and records see; without ``ns`` and ``sa`` no pod is named."""
    with world.client(world.authority.sign("shop", f"URI:{SHOP}")) as client:
        assert ask(client) == 200 and ask(client, "gpt-5") == 200  # two calls, one tunnel
    with world.client(world.authority.sign("batch", "URI:spiffe://prod.example/batch")) as client:
        assert ask(client, "gpt-5") == 403
    callers = [record["caller"] for record in world.proxy.records(3)]
    shop = next(caller for caller in callers if caller.get("spiffe") == SHOP)
    assert shop["namespace"] == "shop" and shop["service_account"] == "checkout"
    assert shop["user"] == SHOP


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
@pytest.mark.parametrize("version", ["--proxy-tlsv1", "--proxy-tls13-ciphers"])
def test_curl_with_a_certificate(world: World, version: str) -> None:
    """``curl --proxy https://…``, TLS 1.2 and 1.3, a streamed answer."""
    pair = world.authority.sign("curl", "DNS:curl.internal")
    assert CURL is not None
    suites = [version, "TLS_AES_128_GCM_SHA256"] if "13" in version else [version]
    command = [
        *(CURL, "--silent", "--show-error", "--max-time", "20", *suites),
        *("--proxy", world.url, "--proxy-cacert", str(world.authority.pem)),
        *("--proxy-cert", str(pair.certificate), "--proxy-key", str(pair.key)),
        *("--cacert", str(world.proxy.state / "ca.pem")),
        *("--json", json.dumps(BODY | {"stream": True})),
        "https://api.openai.com/v1/chat/completions",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_without_a_certificate_a_caller_is_told(world: World) -> None:
    """The handshake succeeds, so that the reason can be read; a password still serves."""
    with world.client(None) as client, pytest.raises(httpx.ProxyError, match="407"):
        ask(client)
    with world.client(None, "ada:adas password") as client:
        assert ask(client) == 200
        assert ask(client, "gpt-5") == 403  # a person without a workload


def test_person_and_workload_together(world: World) -> None:
    """The user is who the password names, on the workload of the certificate."""
    pair = world.authority.sign("both", f"URI:{SHOP}")
    with world.client(pair, "ada:adas password") as client:
        assert ask(client, "o3") == 200
    with world.client(pair) as client:
        assert ask(client, "o3") == 403
    with world.client(pair, "ada:wrong") as client, pytest.raises(httpx.ProxyError, match="407"):
        ask(client)  # a wrong proof is not made good by another


@pytest.mark.parametrize(
    "names", ["URI:spiffe://staging.example/ns/shop/sa/checkout", "DNS:shop.example", ""]
)
def test_a_name_nobody_lets_in(world: World, names: str) -> None:
    stranger = world.client(world.authority.sign("stranger", names))
    with stranger as client, pytest.raises(httpx.ProxyError, match="407"):
        ask(client)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("other authority", "unable to get local issuer certificate"),
        ("for servers only", "unsuitable certificate purpose"),
        ("expired", "certificate has expired"),
    ],
)
def test_a_certificate_that_is_not_valid_ends_the_handshake(
    world: World, fault: str, why: str
) -> None:
    """The right name does not help; the log says why, and it is counted."""
    authority = world.authority
    if fault == "other authority":
        pair = Authority(world.folder / "other").sign("shop", f"URI:{SHOP}")
    elif fault == "for servers only":
        pair = authority.sign("server-only", f"URI:{SHOP}", usage="serverAuth")
    else:
        pair = authority.expired("expired", SHOP)
    with world.client(pair) as client, pytest.raises(httpx.TransportError):
        ask(client)
    assert f"a client was turned away: {why}" in world.proxy.log.read_text()
    assert "client_tls" in world.status()["connections_refused"]


def test_plain_http_to_the_port_gets_nowhere(world: World) -> None:
    plain = httpx.Client(proxy=world.proxy.url, timeout=10)
    with plain as client, pytest.raises(httpx.TransportError):
        client.get("http://api.openai.com/")


def test_openssl_sees_a_proxy_that_asks_for_a_certificate(world: World) -> None:
    """It is asked for and used, TLS 1.1 is not spoken, and no session is kept."""
    pair = world.authority.sign("s-client", f"URI:{SHOP}")
    answer = s_client(world, pair)
    assert "Verify return code: 0 (ok)" in answer
    assert "New, TLSv1.3" in answer and "Post-Handshake New Session Ticket" not in answer
    assert "New, (NONE)" in s_client(world, pair, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")


def test_a_rotated_certificate_needs_no_restart(upstream: Upstream, tmp_path: Path) -> None:
    """New connections get the new pair and the new authority; a broken file changes nothing."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    bundle, chain = tmp_path / "bundle.pem", tmp_path / "chain.pem"

    def install(authority: Authority) -> None:
        own = authority.sign("proxy", "IP:127.0.0.1")
        for target, text in (
            (bundle, authority.pem.read_text()),
            (chain, own.certificate.read_text() + own.key.read_text()),
        ):
            draft = tmp_path / "draft"
            draft.write_text(text)
            draft.replace(target)

    install(old)
    policy = f"version: 1\ncallers: {{mtls: {{ca: {bundle}}}}}\nrules: []\n"
    folder = tmp_path / "run"
    with (
        running_penstock(folder, policy, upstream, ["--tls-cert", str(chain)]) as proxy,
        World(proxy, old, tmp_path).client(old.sign("a", f"URI:{SHOP}")) as running,
    ):
        assert ask(running) == 200
        chain.write_text("broken")
        time.sleep(1.1)  # the files are looked at once a second
        with World(proxy, old, tmp_path).client(old.sign("b", f"URI:{SHOP}")) as client:
            assert ask(client) == 200
        install(new)
        time.sleep(1.1)
        with World(proxy, new, tmp_path).client(new.sign("c", f"URI:{SHOP}")) as client:
            assert ask(client) == 200
        mixed = World(proxy, new, tmp_path).client(old.sign("d", f"URI:{SHOP}"))
        with mixed as client, pytest.raises(httpx.TransportError):
            ask(client)
        assert ask(running) == 200  # opened before: it goes on


def test_only_certificates(upstream: Upstream, tmp_path: Path) -> None:
    """Without another way to prove oneself the refusal is a 403 that says what to do."""
    authority = Authority(tmp_path / "pki")
    own = authority.sign("proxy", "IP:127.0.0.1")
    policy = f"version: 1\ncallers: {{mtls: {{ca: {authority.pem}}}}}\nrules: []\n"
    tls = ["--tls-cert", str(own.certificate), "--tls-key", str(own.key)]
    with (
        running_penstock(tmp_path / "run", policy, upstream, tls) as proxy,
        World(proxy, authority, tmp_path).client(None) as client,
    ):
        answer = client.get("http://api.openai.com/v1/models")
        assert answer.status_code == 403
        assert "with a client certificate" in answer.json()["error"]["message"]


def test_only_the_proxys_own_port_has_it(upstream: Upstream, tmp_path: Path) -> None:
    """A port that stands for a server is reached as before."""
    authority = Authority(tmp_path / "pki")
    own = authority.sign("proxy", "IP:127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    options = ["--tls-cert", str(own.certificate), "--tls-key", str(own.key)]
    options += ["--reverse", f"127.0.0.1:{port}=https://api.openai.com"]
    with running_penstock(tmp_path / "run", "version: 1\nrules: []\n", upstream, options) as proxy:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        assert httpx.post(url, json=BODY, timeout=20).status_code == 200
        with World(proxy, authority, tmp_path).client(None) as client:
            assert ask(client) == 200


def test_several_workers_speak_it_on_one_port(upstream: Upstream, tmp_path: Path) -> None:
    """Whichever of them takes the connection asks for the certificate."""
    authority = Authority(tmp_path / "pki")
    own, shop = authority.sign("proxy", "IP:127.0.0.1"), authority.sign("shop", f"URI:{SHOP}")
    policy = f"version: 1\ncallers: {{mtls: {{ca: {authority.pem}}}}}\nrules: []\n"
    options = ["--tls-cert", str(own.certificate), "--tls-key", str(own.key), "--workers", "2"]
    with running_penstock(tmp_path / "run", policy, upstream, options) as proxy:
        world = World(proxy, authority, tmp_path)
        for _ in range(6):
            with world.client(shop) as client:
                assert ask(client) == 200
            with world.client(None) as client, pytest.raises(httpx.ProxyError, match="403"):
                ask(client)


@pytest.mark.parametrize(
    "fault", ["no tls", "no tls, workers", "key of another", "encrypted", "no authority"]
)
def test_a_start_that_cannot_keep_its_word_is_none(tmp_path: Path, fault: str) -> None:
    """Exit code 2 and the reason; nothing listens."""
    authority = Authority(tmp_path / "pki")
    own = authority.sign("proxy", "IP:127.0.0.1")
    key, ca = own.key, authority.pem
    if fault == "key of another":
        key = authority.sign("another", "IP:127.0.0.1").key
    elif fault == "encrypted":
        key = tmp_path / "encrypted.key"
        command = ["openssl", "ec", "-in", own.key, "-out", key, "-aes128", "-passout", "pass:abcd"]
        subprocess.run(command, check=True, capture_output=True)
    elif fault == "no authority":
        ca = tmp_path / "none.pem"
    policy = f"version: 1\ncallers: {{mtls: {{ca: {ca}}}}}\nrules: []\n"
    tls = ["--tls-cert", str(own.certificate), "--tls-key", str(key)]
    if fault.startswith("no tls"):
        tls = ["--workers", "2"] if "workers" in fault else []
    started = running_penstock(tmp_path / "run", policy, None, tls)
    with pytest.raises(AssertionError) as failed, started:  # it ends before it is ready
        pass
    words = {
        "no tls": "callers.mtls needs TLS",
        "no tls, workers": "callers.mtls needs TLS",
        "key of another": "key values mismatch",
        "encrypted": "encrypted",
        "no authority": "callers.mtls.ca",
    }
    assert words[fault] in str(failed.value)
