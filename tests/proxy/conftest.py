"""Fixtures for tests against a real engine process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.raw import (
    HOST,
    OK,
    RawUpstream,
    RunningProxy,
    Script,
    Start,
    TestCa,
    running_proxy,
)


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    """The CA of the scripted upstreams."""
    return TestCa(tmp_path_factory.mktemp("upstream-ca"))


@pytest.fixture
def start(tmp_path: Path, ca: TestCa) -> Iterator[Start]:
    """Start a scripted TLS upstream for HOST and an engine that reaches it."""
    with ExitStack() as stack:

        def begin(
            script: Script | bytes = OK, host: str = HOST, tls: bool = True, **options: Any
        ) -> tuple[RunningProxy, RawUpstream]:
            context = ca.context(host) if tls else None
            upstream = stack.enter_context(RawUpstream(script, context))
            port = 443 if tls else 80
            options.setdefault("connect_to", {f"{host}:{port}": upstream.port})
            options.setdefault("upstream_ca", ca.pem)
            proxy = stack.enter_context(running_proxy(tmp_path / "state", **options))
            return proxy, upstream

        yield begin
