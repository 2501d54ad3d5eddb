"""A changed policy is swapped in whole; a bad one changes nothing and is counted."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from tests.harness import Penstock, https_server, running_penstock
from tests.sdk.provider import HOSTS, Provider

ALLOW = """
version: 1
name: first
rules:
  - id: models
    allow: {providers: [openai], models: [%s]}
"""


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def refused(model: str) -> bool:
    client = openai.OpenAI(api_key="sk-nothing", max_retries=0)
    try:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    except openai.PermissionDeniedError:
        return True
    return False


def status(proxy: Penstock) -> str:
    with urllib.request.urlopen(f"http://{proxy.admin}/status", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def test_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        https_server(tmp_path / "up", Provider().application, HOSTS) as upstream,
        running_penstock(tmp_path / "penstock", ALLOW % "gpt-5*", upstream) as proxy,
    ):
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        policy = tmp_path / "penstock" / "policy.yaml"
        assert not refused("gpt-5-mini") and refused("o4-mini")
        policy.write_text(ALLOW % "o4-*")
        until(lambda: not refused("o4-mini"))
        assert refused("gpt-5-mini")
        in_force = [line for line in proxy.metrics().splitlines() if "config_info{" in line]
        policy.write_text("version: 1\nrules:\n  - id: x\n    alow: {}\n")
        until(lambda: 'reloads_total{result="failure"} 1.0' in proxy.metrics())
        assert not refused("o4-mini") and refused("gpt-5-mini")
        now = [line for line in proxy.metrics().splitlines() if "config_info{" in line]
        assert now == in_force and len(now) == 1
        assert "alow" not in status(proxy) or "unknown key" in status(proxy)
        policy.write_text(ALLOW % "o4-*")  # as it was before
        until(lambda: "last_reload_successful 1.0" in proxy.metrics())
        assert 'reloads_total{result="failure"} 1.0' in proxy.metrics(), "no second refusal"
