"""The demo's five scenes, and what each must show. Returns data; prints nothing."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.cli.client_environment import variables
from penstock.cli.demo import certificate, provider

START_SECONDS = 20
CLIENT_SECONDS = 30
POLICY = Path(__file__).with_name("policy.yaml")
METRICS_SHOWN = (
    "penstock_calls_total",
    "penstock_policy_decisions_total",
    "penstock_redactions_total",
    "penstock_cost_usd_total",
    "gen_ai_client_token_usage_sum",
)

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class DemoError(Exception):
    """The demo could not run; the message says why."""


def github_token() -> str:
    """A made-up GitHub token, well formed: the last six characters are a CRC-32 in base 62."""
    body = "".join(secrets.choice(BASE62) for _ in range(30))
    checksum, digits = zlib.crc32(body.encode()), ""
    while len(digits) < 6:
        checksum, digit = divmod(checksum, 62)
        digits = BASE62[digit] + digits
    return f"ghp_{body}{digits}"


@contextmanager
def running_proxy(folder: Path, server: provider.Provider, ca: Path) -> Iterator[dict[str, Any]]:
    """A ``penstock run`` in its own process; yields what its ready file says."""
    ready = folder / "ready.json"
    arguments = [
        *(sys.executable, "-m", "penstock", "run"),
        *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
        *("--policy", str(POLICY), "--state-dir", str(folder / "state")),
        *("--upstream-ca", str(ca), "--ready-file", str(ready)),
    ]
    for host in provider.HOSTS:
        arguments += ["--connect-to", f"{host}:443=127.0.0.1:{server.port}"]
    with (folder / "proxy.log").open("w+") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise DemoError(f"penstock run did not start:\n{log.read()}")
                time.sleep(0.02)
            yield json.loads(ready.read_text())
        finally:
            process.terminate()
            process.wait(timeout=10)


def run_client(name: str, argument: str, environment: dict[str, str]) -> dict[str, Any]:
    finished = subprocess.run(
        [sys.executable, "-m", "penstock.cli.demo.clients", name, argument],
        env=environment,
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
    if finished.returncode:
        raise DemoError(f"the {name} client failed:\n{finished.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def play(folder: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """Run all scenes; ``{"steps": [{title, ok, shows}], "audit", "metrics", "seconds"}``.

    Raises:
        DemoError: when a part does not start.
    """
    began = time.monotonic()
    progress("starting an embedded provider and penstock")
    ca, certificate_file, key = certificate.write_server_certificate(folder, provider.HOSTS)
    server = provider.Provider(certificate_file, key)
    server.start()
    try:
        with running_proxy(folder, server, ca) as ready:
            state = folder / "state"
            environment = variables(
                proxy_url=f"http://{ready['listen']}",
                ca_pem=str(state / "ca.pem"),
                ca_bundle=str(state / "ca-bundle.pem"),
            )
            environment["PATH"] = ""  # the clients need nothing of this machine
            steps = []
            for scene in SCENES:
                progress(scene.__doc__ or scene.__name__)
                steps.append({"title": scene.__doc__, **scene(environment, server)})
            metrics = read_metrics(ready["admin"])
        audit = (state / "audit.jsonl").read_text().splitlines()
        return {
            "steps": steps,
            "audit": [json.loads(line) for line in audit],
            "metrics": metrics,
            "seconds": round(time.monotonic() - began, 1),
        }
    finally:
        server.stop()


def read_metrics(admin: str) -> list[str]:
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=5) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith(METRICS_SHOWN)]


Environment = dict[str, str]
Step = dict[str, Any]


def clean_call(environment: Environment, server: provider.Provider) -> Step:
    """A clean call: openai asks, nothing is changed"""
    result = run_client("clean", "", environment)
    return {"ok": "gate of a dam" in result["answer"], "shows": result}


def secret_kept_in(environment: Environment, server: provider.Provider) -> Step:
    """A secret in a prompt: the provider sees a placeholder, the streamed answer is restored"""
    token = github_token()
    before = len(server.received)
    result = run_client("secret", token, environment)
    received = b"".join(server.received[before:])
    sent = json.loads(received)["messages"][-1]["content"]
    return {
        "ok": token.encode() not in received and token in result["answer"],
        "shows": {
            "prompt": f"Deploy with the token {token} please.",
            "provider_received": sent if isinstance(sent, str) else sent[0]["text"],
            "application_read": result["answer"],
            "pieces": result["pieces"],
        },
    }


def refused_model(environment: Environment, server: provider.Provider) -> Step:
    """A model nobody approved: refused in the provider's own error shape"""
    before = len(server.received)
    result = run_client("forbidden", "", environment)
    refused = result["exception"] == "PermissionDeniedError"
    return {"ok": refused and len(server.received) == before, "shows": result}


def spent_limit(environment: Environment, server: provider.Provider) -> Step:
    """A token limit: the call that would exceed it is refused before it is made"""
    result = run_client("limit", "", environment)
    return {"ok": result["exception"] == "RateLimitError", "shows": result}


def refused_tool(environment: Environment, server: provider.Provider) -> Step:
    """An MCP tool nobody granted: not listed, and refused when called all the same"""
    result = run_client("tools", f"https://{provider.TOOLS_HOST}/mcp", environment)
    deleted = any(body.startswith(b"DELETED") for body in server.received)
    granted = result["listed"] == ["get_weather"] and "sunny" in result["weather"]
    return {"ok": granted and bool(result["refusal"]) and not deleted, "shows": result}


SCENES: tuple[Callable[[Environment, provider.Provider], Step], ...] = (
    clean_call,
    secret_kept_in,
    refused_model,
    spent_limit,
    refused_tool,
)
