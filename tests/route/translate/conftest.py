"""Three providers and a penstock that sends each caller's calls to the two others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Penstock, https_server, running_penstock
from tests.route.translate.upstream import HOSTS, Upstream

POLICY = """
version: 1
rules:
  - id: gpt-at-openai
    route:
      models: [gpt-*]
      hosts: [api.anthropic.com, generativelanguage.googleapis.com]
      to: [{{url: "https://api.openai.com/v1", translate: yes}}]
  - id: claude-at-anthropic
    route:
      models: [claude-*]
      hosts: [api.openai.com, generativelanguage.googleapis.com]
      to: [{{url: "https://api.anthropic.com/v1", translate: yes, max_tokens: 900}}]
  - id: gemini-at-google
    route:
      models: [gemini-*]
      hosts: [api.openai.com, api.anthropic.com]
      to: [{{url: "https://generativelanguage.googleapis.com", translate: yes}}]
  - id: keys
    credential: {{hosts: [{hosts}], from: {{file: {key}}}}}
    when: call.model.endsWith("-keyed")
  - id: no-mail-addresses-out
    redact: {{find: [pii.email], in: [request], with: placeholder}}
  - id: nothing-secret-back
    deny: {{find: [secret.github_token], in: [response]}}
  - id: measured
    limit: {{tokens: 100_000_000, every: 1h, per: [workload]}}
"""


@pytest.fixture(scope="session")
def providers() -> Upstream:
    return Upstream()


@pytest.fixture(scope="session")
def proxy(providers: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder: Path = tmp_path_factory.mktemp("translated")
    key = folder / "key"
    key.write_text("a-real-key-0123456789")
    policy = POLICY.format(hosts=", ".join(HOSTS), key=key)
    with (
        https_server(folder / "provider", providers.application, HOSTS) as upstream,
        running_penstock(folder / "penstock", policy, upstream) as started,
    ):
        yield started


@pytest.fixture
def through_proxy(proxy: Penstock, monkeypatch: pytest.MonkeyPatch) -> Penstock:
    """SDK clients made in the test find the proxy and its CA in the environment."""
    for name, value in proxy.environment.items():
        monkeypatch.setenv(name, value)
    return proxy
