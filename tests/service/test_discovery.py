"""Discovery: observe changes nothing, and the inventory says who used what."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest

from tests.harness import https_server, running_penstock
from tests.sdk.provider import HOSTS, Provider

SHIPPED = Path(__file__).resolve().parents[2] / "policies"


def test_observe_and_report(tmp_path: Path, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider()
    with (
        https_server(tmp_path / "up", provider.application, HOSTS) as upstream,
        running_penstock(tmp_path / "penstock", SHIPPED / "observe.yaml", upstream) as proxy,
    ):
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        openai.OpenAI(api_key="sk-nothing").chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": f"use {secret}"}]
        )
        record = proxy.records(1)[-1]
        assert proxy.stop() == 0
        time.sleep(0.1)
    assert secret.encode() in provider.received[-1]  # observed, not changed
    assert record["verdict"] == "allow" and record["would"] == "edit"
    report = subprocess.run(
        [
            *(sys.executable, "-m", "penstock", "discover", "report"),
            *("--state-dir", str(proxy.state), "--format", "json"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert secret not in report.stdout
    (entry,) = json.loads(report.stdout)["entries"]
    assert entry["host"] == "api.openai.com" and entry["model"] == "gpt-5-mini"
    assert entry["calls"] == 1
    assert entry["findings"] == {"secret.github_token": 2}  # asked, and repeated in the answer
