"""Traffic that is no AI call: left alone, unless the policy says where it may go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.harness import Penstock, https_server, running_penstock

HOSTS = ["files.example.org", "blog.example.net"]
Start = Callable[[str], AbstractContextManager[Penstock]]


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def begin(policy: str) -> AbstractContextManager[Penstock]:
        from contextlib import ExitStack, contextmanager

        @contextmanager
        def both():  # type: ignore[no-untyped-def]  # a fixture's inner helper
            with ExitStack() as stack:
                application = Starlette(routes=[Route("/{rest:path}", echo, methods=["POST"])])
                upstream = stack.enter_context(https_server(tmp_path / "up", application, HOSTS))
                yield stack.enter_context(running_penstock(tmp_path / "p", policy, upstream))

        return both()

    return begin


def post(proxy: Penstock, host: str, text: str) -> httpx.Response:
    """A POST by a client that trusts the proxy's CA and nobody else."""
    context = httpx.create_ssl_context(verify=str(proxy.state / "ca.pem"))
    with httpx.Client(proxy=proxy.url, verify=context) as client:
        return client.post(f"https://{host}/notes", content=text)


def test_what_is_no_ai_call_is_not_read(start: Start, secret: str) -> None:
    """Decrypted for discovery, a call without AI in it passes as it is, secrets and all."""
    policy = "version: 1\nintercept: all\nrules:\n  - id: s\n    redact: {find: [secret]}\n"
    with start(policy) as proxy:
        assert post(proxy, HOSTS[0], f"my notes {secret}").text == f"my notes {secret}"
        assert proxy.records() == []


def test_an_allow_list_of_hosts_holds_for_everything_decrypted(start: Start, secret: str) -> None:
    """Where an allow rule covers other destinations, what it does not name is refused."""
    policy = (
        "version: 1\nintercept: all\nrules:\n  - id: hosts\n"
        f"    allow: {{hosts: [{HOSTS[0]}]}}\n  - id: s\n    redact: {{find: [secret]}}\n"
    )
    with start(policy) as proxy:
        refused = post(proxy, HOSTS[1], f"my notes {secret}")
        assert refused.status_code == 403
        assert "rule=hosts" in refused.headers["penstock-decision"]
        assert [record["verdict"] for record in proxy.records(1)] == ["deny"]


def test_what_is_not_intercepted_keeps_its_own_certificate(start: Start) -> None:
    """Under ``intercept: ai`` an unknown host is tunnelled: our CA has no part in it."""
    policy = "version: 1\nrules:\n  - id: s\n    redact: {find: [secret]}\n"
    with start(policy) as proxy, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY"):
        post(proxy, HOSTS[0], "hello")
