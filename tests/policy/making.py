"""What the policy tests make their calls, policies and states from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.exchange import (
    Caller,
    Destination,
    Exchange,
    Finding,
    Leaf,
    McpCall,
    Workload,
    Zone,
)
from penstock.meter.quotas import Quotas
from penstock.policy.call import Call
from penstock.policy.language.load import load
from penstock.policy.language.problem import ConfigError, Problem
from penstock.policy.offline.dry_state import DryState
from penstock.policy.policy import Policy

TYPES = ("secret.jwt", "secret.private_key", "pii.email", "pii.card")
OPENAI = Destination("api.openai.com", 443, provider="openai", category="llm_api", known=True)
NOON = 1_767_614_400.0  # a Monday


def policy_of(folder: Path, rules: str, settings: str = "") -> Policy:
    """A policy with these rules (YAML list, any indent) and further settings."""
    file = folder / "policy.yaml"
    file.write_text(f"version: 1\n{settings}\nrules:\n{rules}")
    return load([file], TYPES)


def problems_of(folder: Path, content: str | bytes, name: str = "p.yaml") -> list[Problem]:
    """What the loader says is wrong with a file, paths without the folder."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        load([file], TYPES)
    except ConfigError as error:
        return list(error.problems)
    return []


def call(
    text: str = "",
    *,
    api: str = "openai.chat_completions",
    model: str | None = "gpt-5-mini",
    destination: Destination = OPENAI,
    leaves: list[Leaf] | None = None,
    mcp: McpCall | None = None,
    document: Any = None,
    references: dict[str, Any] | None = None,
    namespace: str | None = None,
    user: str | None = None,
    path: str = "/v1/chat/completions",
    body_bytes: int = 100,
) -> Call:
    """A call with one user text, or with ``leaves``."""
    if leaves is None:
        leaves = [Leaf(("messages", 0, "content"), text, "user")] if text else []
    exchange = Exchange(
        api, model=model, leaves=leaves, mcp=mcp, document=document, references=references or {}
    )
    caller = Caller(workload=Workload(name="checkout", namespace=namespace), user=user)
    return Call(exchange, caller, destination, "c0ffee", body_bytes, path=path)


def tool_call(tool: str, host: str = "mcp.example.com", path: str = "/mcp") -> Call:
    """A tools/call to an MCP server."""
    document = {"method": "tools/call", "params": {"name": tool}}
    return call(
        api="mcp.streamable_http",
        model=None,
        destination=Destination(host, 443, category="mcp"),
        mcp=McpCall(methods=["tools/call"], tool=tool),
        document=document,
        path=path,
    )


class State(DryState):
    """Finds the words EMAIL, JWT, CARD and KEY, so that tests do not depend on detectors."""

    WORDS = {  # noqa: RUF012 - a table
        "EMAIL": "pii.email",
        "JWT": "secret.jwt",
        "CARD": "pii.card",
        "KEY": "secret.private_key",
    }

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.quotas = Quotas()
        self.scanned: list[str] = []

    def findings(self, text: str, zone: Zone) -> Sequence[Finding]:
        self.scanned.append(text)
        found = []
        for word, name in self.WORDS.items():
            at = text.find(word)
            while at >= 0:
                found.append(Finding(name, at, at + len(word), 1.0, "test"))
                at = text.find(word, at + 1)
        return sorted(found, key=lambda one: one.start)
