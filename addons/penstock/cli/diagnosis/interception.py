"""The real thing, small: a throw-away proxy, a TLS server on loopback, calls through it.

The host is one that cannot exist (RFC 2606 ``.invalid``), so that a client that ignores the
proxy fails to resolve it and nothing ever leaves the machine. Each client found on PATH makes
the call itself: what it honours is measured, not looked up.
"""

from __future__ import annotations

import http.client
import http.server
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.cli.client_environment import variables
from penstock.cli.diagnosis import Check
from penstock.cli.options import ProxyOptions
from penstock.cli.proxy_process import ProxyFailed, RunningProxy, running_proxy

HOST = "penstock-doctor.invalid"
URL = f"https://{HOST}/doctor"
ANSWER = "penstock doctor: the call arrived"
POLICY = f"""\
version: 1
name: doctor
mode: observe
intercept: ["{HOST}"]
rules: []
"""
CALL_SECONDS = 15

# Each prints what it got; nothing but the environment tells it of the proxy and the CA.
CLIENTS: dict[str, list[str]] = {
    "curl": ["curl", "-sS", "--max-time", "10", URL],
    "python3": [
        "python3",
        "-c",
        f"import urllib.request; print(urllib.request.urlopen('{URL}', timeout=10).read())",
    ],
    "node": ["node", "-e", f"fetch('{URL}').then(r => r.text()).then(console.log)"],
    "deno": ["deno", "eval", f"console.log(await (await fetch('{URL}')).text())"],
    "bun": ["bun", "-e", f"console.log(await (await fetch('{URL}')).text())"],
}
# What to do about a client that went its own way. docs/clients.md has the whole table.
MENDING = {
    "node": "Node before 22.21 (and 24.0 to 24.4 outside fetch) ignores HTTPS_PROXY: use a newer "
    "Node, or undici's EnvHttpProxyAgent, or the pod's redirect",
    "curl": "this curl may be built for another trust store: pass --cacert with ca-bundle.pem",
    "python3": "this Python may trust another store: set SSL_CERT_FILE in its own environment",
}


def check_interception() -> list[Check]:
    """Start a proxy, call through it, look at what it wrote; then let each client call."""
    with tempfile.TemporaryDirectory(prefix="penstock-doctor-") as name:
        folder = Path(name)
        try:
            with _upstream(folder) as (port, ca), running_proxy(_options(folder, port, ca)) as one:
                return [
                    _check_call(one),
                    _check_admin(one),
                    _check_audit_line(one),
                    *(_check_client(one, client) for client in CLIENTS if shutil.which(client)),
                ]
        except ProxyFailed as error:
            mend = "mend what it says; a traceback is a bug worth reporting"
            return [Check("proxy", "start", "broken", str(error), mend)]


def _options(folder: Path, port: int, ca: Path) -> ProxyOptions:
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    return ProxyOptions(
        listen=("127.0.0.1", 0),
        admin=("127.0.0.1", 0),
        policies=(policy,),
        mode=None,
        state_dir=folder / "state",
        upstream_ca=ca,
        connect_to={(HOST, 443): ("127.0.0.1", port)},
        transparent=None,
        http2=False,
        drain_seconds=1.0,
        body_mib=1,
    )


def _check_call(proxy: RunningProxy) -> Check:
    host, _, port = proxy.listen.rpartition(":")
    context = ssl.create_default_context(cafile=str(proxy.ca_bundle))
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=CALL_SECONDS)
    connection.set_tunnel(HOST, 443)
    started = time.monotonic()
    try:
        connection.connect()
        issuer = _issuer(connection)
        connection.request("GET", "/doctor")
        answer = connection.getresponse().read(1000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        mend = "a firewall or another proxy on this machine may stand between loopback ports"
        return Check("proxy", "interception", "broken", f"the call failed: {error}", mend)
    finally:
        connection.close()
    if answer != ANSWER or "Penstock" not in issuer:
        return Check(
            "proxy",
            "interception",
            "broken",
            f"the call was not read on its way (certificate by {issuer or 'nobody'})",
            "another proxy may take loopback connections: look for transparent proxies",
        )
    milliseconds = 1000 * (time.monotonic() - started)
    found = f"a TLS call was read and passed on in {milliseconds:.0f} ms, certificate by {issuer}"
    return Check("proxy", "interception", "ok", found)


def _issuer(connection: http.client.HTTPSConnection) -> str:
    from cryptography import x509

    if not isinstance(connection.sock, ssl.SSLSocket):
        return ""
    certificate = connection.sock.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(certificate or b"").issuer.rfc4514_string()


def _check_admin(proxy: RunningProxy) -> Check:
    try:
        for path in ("/healthz", "/readyz"):
            _get(f"http://{proxy.admin}{path}")
        metrics = _get(f"http://{proxy.admin}/metrics")
    except OSError as error:
        mend = "the admin address must be reachable from this machine"
        return Check("proxy", "health and metrics", "broken", str(error), mend)
    count = len([line for line in metrics.splitlines() if line.startswith("penstock_")])
    if not count:
        return Check("proxy", "health and metrics", "broken", "no metric of ours is served")
    return Check("proxy", "health and metrics", "ok", f"ready, {count} samples served")


def _check_audit_line(proxy: RunningProxy) -> Check:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if proxy.audit.exists() and HOST in proxy.audit.read_text(encoding="utf-8"):
            return Check("record", "audit line", "ok", "the call was recorded")
        time.sleep(0.05)
    mend = "see whether the disk is full: df ."
    return Check("record", "audit line", "broken", "the call left no line in the audit log", mend)


def _check_client(proxy: RunningProxy, client: str) -> Check:
    environment = {
        **os.environ,
        **variables(f"http://{proxy.listen}", str(proxy.ca), str(proxy.ca_bundle)),
    }
    version = _output([client, "--version"], dict(os.environ)).strip().partition("\n")[0][:60]
    said = _output(CLIENTS[client], environment)
    if ANSWER in said:
        return Check("client", client, "ok", f"{version}: honours the proxy and the CA")
    mend = MENDING.get(client, "see docs/clients.md")
    return Check("client", client, "note", f"{version}: does not get through the proxy", mend)


def _output(command: list[str], environment: dict[str, str]) -> str:
    try:
        finished = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}"
    return finished.stdout + finished.stderr


def _get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=CALL_SECONDS) as answer:
        text: str = answer.read().decode()
        return text


@contextmanager
def _upstream(folder: Path) -> Iterator[tuple[int, Path]]:
    """A TLS server on loopback that gives ANSWER to every GET; yields its port and its CA."""
    from penstock.cli.demo.certificate import write_server_certificate

    class Answering(http.server.BaseHTTPRequestHandler):
        """Gives the same answer to everything and logs nothing."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    ca, certificate, key = write_server_certificate(folder, [HOST])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], ca
    finally:
        server.shutdown()
        server.server_close()
