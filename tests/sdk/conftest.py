"""A provider, a running penstock, and the environment that sends SDKs through it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import Penstock, Upstream, https_server, running_penstock
from tests.sdk.provider import HOSTS, Provider

POLICY = """
version: 1
name: sdk-tests
mode: enforce
rules:
  - id: approved-models
    allow:
      providers: [openai, anthropic, gemini]
      models: [gpt-5*, claude-*, gemini-*, text-embedding-*]
    message: Use an approved model.
  - id: no-secrets-out
    redact:
      find: [secret, pii.email]
      in: [request]
      with: placeholder
  - id: one-call-in-thirty-seconds
    limit: {requests: 1, every: 30s, per: [workload]}
    when: call.model == "gpt-5-minute"
  - id: one-call-a-day
    limit: {requests: 1, every: 1d, per: [workload, model]}
    when: call.model == "gpt-5-day" || call.model == "claude-day"
  - id: measured
    limit: {tokens: 1_000_000, every: 1h, per: [workload]}
    when: call.model == "gpt-5-limited"
"""


@pytest.fixture(scope="session")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="session")
def upstream(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("provider")
    with https_server(folder, provider.application, HOSTS) as started:
        yield started


@pytest.fixture(scope="session")
def proxy(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with running_penstock(tmp_path_factory.mktemp("penstock"), POLICY, upstream) as started:
        yield started


@pytest.fixture
def through_proxy(proxy: Penstock, monkeypatch: pytest.MonkeyPatch) -> Penstock:
    """SDK clients made in the test find the proxy and its CA in the environment."""
    for name, value in proxy.environment.items():
        monkeypatch.setenv(name, value)
    return proxy
