"""The webhook as the API server meets it: a process, TLS, a bundle that vouches for it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonpatch
import pytest

from penstock.cli.demo.certificate import write_server_certificate
from penstock.kube import server as webhook_server
from penstock.kube.patch import patch
from penstock.kube.settings import load_settings
from tests.kube.pods import assert_valid, pod

NAME = "penstock-webhook.penstock.svc"
SETTINGS = "image: registry.example/penstock:9\nmode: shadow\n"


@dataclass
class Webhook:
    process: subprocess.Popen[str]
    port: int
    ca: Path
    folder: Path

    def post(self, body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
        with self.connection() as connection:
            connection.request("POST", "/mutate", body, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, answer.read()

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPSConnection]:
        """As the API server connects: only the bundle is trusted, the service's name is checked."""
        context = ssl.create_default_context(cafile=str(self.ca))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection = http.client.HTTPSConnection(NAME)
        connection.sock = context.wrap_socket(plain, server_hostname=NAME)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def running_webhook(folder: Path) -> Iterator[Webhook]:
    ca, certificate, key = write_server_certificate(folder, [NAME])
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "penstock", "inject", "--settings", str(settings)),
            *("--listen", f"127.0.0.1:{port}"),
            *("--tls-cert", str(certificate), "--tls-key", str(key)),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    webhook = Webhook(process, port, ca, folder)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None and time.monotonic() < deadline
            try:
                with webhook.connection() as connection:
                    connection.request("GET", "/healthz")
                    assert connection.getresponse().read() == b"ok"
                break
            except OSError:
                time.sleep(0.05)
        yield webhook
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    with running_webhook(tmp_path_factory.mktemp("webhook")) as running:
        yield running


def asked(one: dict[str, Any]) -> bytes:
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    request = {"uid": "u-1", "kind": kind, "operation": "CREATE", "object": one}
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(document).encode()


def test_a_review_over_tls_gives_a_pod_that_is_valid_and_runs_the_set_image(
    webhook: Webhook,
) -> None:
    status, body = webhook.post(asked(pod()))
    response = json.loads(body)["response"]
    assert (status, response["uid"], response["allowed"]) == (200, "u-1", True)
    steps = json.loads(base64.b64decode(response["patch"]))
    patched = jsonpatch.apply_patch(pod(), steps)
    assert patched == patch(pod(), load_settings(SETTINGS)).pod
    assert patched["spec"]["initContainers"][0]["image"] == "registry.example/penstock:9"
    assert_valid(patched)


def test_a_refused_pod_is_answered_not_failed(webhook: Webhook) -> None:
    status, body = webhook.post(asked(pod(hostNetwork=True)))
    assert status == 200
    assert json.loads(body)["response"]["allowed"] is False


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"{}", "application/json", 400),
        (b"[" * 200_000, "application/json", 400),
        (b"{}", "text/plain", 415),
    ],
)
def test_what_is_no_review_is_an_http_error(
    webhook: Webhook, body: bytes, content_type: str, status: int
) -> None:
    """Then the cluster's failurePolicy decides, not this server."""
    assert webhook.post(body, content_type)[0] == status


def test_a_body_over_the_limit_is_refused(webhook: Webhook) -> None:
    assert webhook.post(b" " * (webhook_server.BODY_BYTES_MAX + 1))[0] == 413


def test_plain_http_gets_no_answer(webhook: Webhook) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", webhook.port, timeout=5)
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.request("GET", "/healthz")
        connection.getresponse()


def test_tls_below_1_2_is_not_spoken(webhook: Webhook) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(webhook.ca))
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", webhook.port), timeout=5) as plain,
        pytest.raises(OSError),
    ):
        context.wrap_socket(plain, server_hostname=NAME)


async def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    """And a half-written one is not: the old goes on until a whole pair is there."""
    import asyncio

    _, certificate, key = write_server_certificate(tmp_path, [NAME])
    server = webhook_server.build_server(load_settings(""), "127.0.0.1", 0, certificate, key)
    task = asyncio.create_task(webhook_server.serve(server, certificate, key, reload=0.02))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        first = await asyncio.to_thread(served, port)

        certificate.write_text("half a certif")
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(served, port) == first

        write_server_certificate(tmp_path, [NAME])
        async with asyncio.timeout(5):
            while await asyncio.to_thread(served, port) == first:
                await asyncio.sleep(0.02)
        assert ssl.PEM_cert_to_DER_cert(certificate.read_text()) == await asyncio.to_thread(
            served, port
        )
    finally:
        server.should_exit = True
        await task


def served(port: int) -> bytes | None:
    """The certificate the server shows now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as secured,
    ):
        return secured.getpeercert(binary_form=True)


def test_an_unusable_certificate_stops_the_start_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("no certificate")
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "penstock", "inject", "--listen", "127.0.0.1:0"),
            *("--tls-cert", str(tmp_path / "c"), "--tls-key", str(tmp_path / "missing")),
        ],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        timeout=30,
    )
    assert finished.returncode == 2
    assert "--tls-cert" in finished.stderr
    assert "Traceback" not in finished.stderr
