"""Options and fixtures of the leak probes: against our own process, or any proxy (README.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import https_server, running_penstock
from tests.leaks.probing import HOSTS, Probe, Provider

POLICY = """
version: 1
name: leak-probes
mode: enforce
rules:
  - id: nothing-leaves
    redact: {find: [secret, pii.email, pii.card], in: [both], with: placeholder}
"""
UPSTREAM_PORT = 18443


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("leak probes")
    group.addoption("--proxy", help="probe this forward proxy (http://HOST:PORT), not our own")
    group.addoption("--ca", help="CA file of the proxy under probe")
    group.addoption("--upstream-dir", help="where the upstream's CA and key are kept")
    group.addoption("--upstream-port", type=int, default=UPSTREAM_PORT)


@pytest.fixture(scope="session")
def probe(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Probe]:
    """A started upstream behind a proxy."""
    provider = Provider()
    option = request.config.getoption
    proxy = option("--proxy", None)
    if proxy:
        folder = Path(option("--upstream-dir") or tmp_path_factory.mktemp("upstream"))
        with https_server(folder, provider, HOSTS, port=option("--upstream-port")):
            ca = option("--ca")
            yield Probe(proxy, Path(ca) if ca else None, provider)
        return
    with (
        https_server(tmp_path_factory.mktemp("upstream"), provider, HOSTS) as upstream,
        running_penstock(tmp_path_factory.mktemp("penstock"), POLICY, upstream) as penstock,
    ):
        yield Probe(penstock.url, penstock.state / "ca.pem", provider)
