"""`penstock doctor`: says what is so, by doing it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.cli.client_environment import variables
from penstock.cli.diagnosis import Check, environment, installation
from tests.harness import Penstock, running_penstock

POLICY = "version: 1\nname: team\nmode: observe\nrules: []\n"


@pytest.fixture(scope="module")
def penstock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with running_penstock(tmp_path_factory.mktemp("doctor"), POLICY) as running:
        yield running


def doctor(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-m", "penstock", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        env={**clean, **more},
    )


def test_a_sound_installation_has_nothing_broken(penstock: Penstock) -> None:
    """Every real check at once: proxy, call, trust, record, clients, variables."""
    finished = doctor(
        *("--state-dir", str(penstock.state), "--admin", penstock.admin, "--format", "json"),
        **penstock.environment,
    )
    checks: list[dict[str, Any]] = json.loads(finished.stdout)
    assert [one for one in checks if one["status"] == "broken"] == []
    assert finished.returncode == 0
    by_name = {one["name"]: one for one in checks}
    assert "certificate by CN=Penstock" in by_name["interception"]["found"]
    for name in ("running", "CA", "bundle", "trust", "audit line", "curl", "python3"):
        assert by_name[name]["status"] == "ok", by_name[name]


def test_what_is_broken_is_said_with_its_mending_and_the_exit_code(tmp_path: Path) -> None:
    policy = tmp_path / "team.yaml"
    policy.write_text("version: 1\nname: team\nmode: enfroce\nrules: []\n")
    finished = doctor(
        *("--state-dir", str(tmp_path / "s"), "--policy", str(policy)),
        HTTPS_PROXY="http://127.0.0.1:1",
        https_proxy="http://127.0.0.1:1",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
    )
    assert finished.returncode == 1
    assert "team.yaml:3" in finished.stdout
    assert "did you mean 'enforce'" in finished.stdout
    broken = [line for line in finished.stdout.splitlines() if line.startswith("BROKEN")]
    assert len(broken) == 3, finished.stdout
    assert finished.stdout.count("-> ") >= 3


def test_waiting_ends_when_the_proxy_is_ready_or_the_time_is_over(penstock: Penstock) -> None:
    assert doctor("--wait", "5", "--admin", penstock.admin).returncode == 0
    finished = doctor("--wait", "0.2", "--admin", "127.0.0.1:1")
    assert finished.returncode == 1
    assert "not ready" in finished.stderr


def one(checks: list[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.name == name]
    return found


def test_a_shell_without_variables_is_no_fault(tmp_path: Path) -> None:
    check = one(environment.check_variables({}, tmp_path), "proxy")
    assert check.status == "note"
    assert "penstock exec" in check.mend


def test_variables_that_disagree_are_broken(tmp_path: Path) -> None:
    shell = {"HTTPS_PROXY": "http://user:pw@a:1", "https_proxy": "http://b:2"}
    check = one(environment.check_variables(shell, tmp_path), "proxy")
    assert check.status == "broken"
    assert "pw" not in check.found


def test_a_ca_variable_that_leads_elsewhere_is_named(penstock: Penstock, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text("no certificate of ours")
    state = penstock.state
    shell = variables(penstock.url, str(state / "ca.pem"), str(state / "ca-bundle.pem"))
    shell["REQUESTS_CA_BUNDLE"] = str(other)
    del shell["GIT_SSL_CAINFO"]
    check = one(environment.check_variables(shell, state), "trust")
    assert check.status == "broken"
    assert check.found == "without the CA: REQUESTS_CA_BUNDLE, GIT_SSL_CAINFO"


def test_a_key_others_can_read_is_broken(penstock: Penstock) -> None:
    key = penstock.state / "ca-key.pem"
    key.chmod(0o644)
    try:
        check = one(installation.check_authority(penstock.state), "CA key")
    finally:
        key.chmod(0o600)
    assert check.status == "broken"
    assert check.mend == f"chmod 600 {key}"


def test_a_bundle_without_the_ca_is_broken(penstock: Penstock, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes((penstock.state / "ca.pem").read_bytes())
    (tmp_path / "ca-bundle.pem").write_text("")
    assert one(installation.check_authority(tmp_path), "bundle").status == "broken"


def test_a_file_that_is_no_certificate_is_broken_not_raised(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    assert one(installation.check_authority(tmp_path), "CA").status == "broken"


def test_a_damaged_audit_log_is_broken(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_text('{"seq": 1}\n')
    assert one(installation.check_audit(tmp_path), "audit log").status == "broken"


def test_a_state_directory_that_cannot_be_is_broken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert installation.check_state_directory(tmp_path / "file").status == "broken"


@pytest.mark.parametrize(("status", "expected"), [(200, "ok"), (401, "broken"), (404, "broken")])
def test_the_exporters_endpoint_is_asked(status: int, expected: str) -> None:
    import asyncio
    import threading

    import uvicorn

    async def traces(request: Request) -> Response:
        assert await request.body() == b""
        return Response(status_code=status)

    application = Starlette(routes=[Route("/v1/traces", traces, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="critical"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        shell = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        assert environment.check_exporters(shell)[0].status == expected
    finally:
        server.should_exit = True
        thread.join()


def test_an_endpoint_that_is_no_address_is_broken_and_shows_no_password() -> None:
    for url in ("grpc://collector:4317", "http://u:pw@127.0.0.1:1", "nonsense"):
        (check,) = environment.check_exporters({"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        assert check.status == "broken"
        assert "pw" not in check.found
