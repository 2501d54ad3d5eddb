"""The fields a condition can read, and their values for one call.

``FIELDS`` is the declaration: the loader checks names against it and the policy reference
describes it. An unknown text is "", an unknown number 0, so that a comparison never fails
for want of a value. Free-form maps (labels, claims, parameters, args) are declared empty.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from penstock.policy.call import Call

TEXT, WHOLE, FLAG, TEXTS = "text", "whole number", "true or false", "list of texts"
FREE_MAP: dict[str, Any] = {}

FIELDS: dict[str, Any] = {
    "caller": {
        "workload": {
            "name": TEXT,
            "namespace": TEXT,
            "pod": TEXT,
            "service_account": TEXT,
            "node": TEXT,
            "labels": FREE_MAP,
        },
        "user": TEXT,
        "agent": TEXT,
        "session": TEXT,
        "process": {"pid": WHOLE, "name": TEXT, "path": TEXT, "user": TEXT},
        "user_agent": TEXT,
        "credential": TEXT,
        "tainted": FLAG,
        "scopes": TEXTS,
        "claims": FREE_MAP,
        "spiffe": TEXT,
    },
    "destination": {
        "host": TEXT,
        "port": WHOLE,
        "provider": TEXT,
        "category": TEXT,
        "broad": FLAG,
        "known": FLAG,
    },
    "call": {
        "method": TEXT,
        "path": TEXT,
        "api": TEXT,
        "operation": TEXT,
        "model": TEXT,
        "stream": FLAG,
        "body_bytes": WHOLE,
        "messages": WHOLE,
        "tools": TEXTS,
        "parameters": FREE_MAP,
        "references": TEXTS,
        "problem": TEXT,
    },
    "time": {"hour": WHOLE, "minute": WHOLE, "weekday": WHOLE, "date": TEXT},
    "mcp": {
        "method": TEXT,
        "methods": TEXTS,
        "tool": TEXT,
        "resource_uri": TEXT,
        "prompt": TEXT,
        "protocol_version": TEXT,
        "session_id": TEXT,
        "client": TEXT,
        "server": TEXT,
    },
    "args": FREE_MAP,
}
ROOTS = tuple(FIELDS)

_EXAMPLES: dict[str, Any] = {TEXT: "text", WHOLE: 1, FLAG: True, TEXTS: ["text"]}


def sample() -> dict[str, Any]:
    """An example of every field, to try a condition's types on."""

    def fill(declared: Any) -> Any:
        if isinstance(declared, dict):
            return {name: fill(value) for name, value in declared.items()}
        return _EXAMPLES[declared]

    filled: dict[str, Any] = fill(FIELDS)
    return filled


class Activation:
    """The variables of one call, each made when a condition first reads it."""

    __slots__ = ("_call", "_made", "_now", "_tainted")

    def __init__(self, call: Call, now: float, tainted: Callable[[], bool] = lambda: False) -> None:
        self._tainted = tainted
        self._call = call
        self._now = now
        self._made: dict[str, Any] = {}

    def resolve(self, name: str) -> Any:
        """The value of a root variable; None for a name that is none."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Any:
        match name:
            case "caller":
                return _caller(self._call) | {"tainted": self._tainted()}
            case "destination":
                return _destination(self._call)
            case "call":
                return _call_fields(self._call)
            case "time":
                return _time(self._now)
            case "mcp":
                return _mcp(self._call)
            case "args":
                arguments = self._call.exchange.mcp and self._call.exchange.mcp.arguments
                return arguments if isinstance(arguments, dict) else {}
            case _:
                return None


def _caller(call: Call) -> dict[str, Any]:
    caller, workload, process = call.caller, call.caller.workload, call.caller.process
    return {
        "workload": {
            "name": workload.name or "",
            "namespace": workload.namespace or "",
            "pod": workload.pod or "",
            "service_account": workload.service_account or "",
            "node": workload.node or "",
            "labels": dict(workload.labels),
        },
        "user": caller.user or "",
        "agent": caller.agent or "",
        "session": caller.session or "",
        "process": {
            "pid": process.pid if process else 0,
            "name": process.name if process else "",
            "path": (process.path if process else None) or "",
            "user": (process.user if process else None) or "",
        },
        "user_agent": caller.user_agent or "",
        "credential": caller.credential or "",
        "scopes": scopes_of(caller.claims),
        "claims": dict(caller.claims),
        "spiffe": caller.spiffe or "",
    }


def scopes_of(claims: Mapping[str, Any]) -> list[str]:
    """What a token grants: ``scope`` (RFC 8693, one text) or ``scp`` (a text or a list)."""
    found: list[str] = []
    for name in ("scope", "scp"):
        value = claims.get(name)
        if isinstance(value, str):
            found += value.split()
        elif isinstance(value, list):
            found += [one for one in value if isinstance(one, str)]
    return found


def _destination(call: Call) -> dict[str, Any]:
    destination = call.destination
    return {
        "host": destination.host,
        "port": destination.port,
        "provider": destination.provider or "",
        "category": destination.category,
        "broad": destination.broad,
        "known": destination.known,
    }


def _call_fields(call: Call) -> dict[str, Any]:
    exchange = call.exchange
    return {
        "method": call.method,
        "path": call.path,
        "api": exchange.api,
        "operation": exchange.operation,
        "model": exchange.model or "",
        "stream": exchange.stream,
        "body_bytes": call.body_bytes,
        "messages": len(exchange.messages),
        "tools": [tool.name for tool in exchange.tools],
        "parameters": exchange.parameters,
        "references": list(exchange.references),
        "problem": exchange.problem or "",
    }


def _time(now: float) -> dict[str, Any]:
    """UTC; ``weekday`` counts from 1 (Monday) to 7 (Sunday), as in ISO 8601."""
    moment = time.gmtime(now)
    return {
        "hour": moment.tm_hour,
        "minute": moment.tm_min,
        "weekday": moment.tm_wday + 1,
        "date": time.strftime("%Y-%m-%d", moment),
    }


def _mcp(call: Call) -> dict[str, Any]:
    mcp = call.exchange.mcp
    return {
        "method": mcp.methods[0] if mcp and mcp.methods else "",
        "methods": list(mcp.methods) if mcp else [],
        "tool": (mcp.tool if mcp else None) or "",
        "resource_uri": (mcp.resource_uri if mcp else None) or "",
        "prompt": (mcp.prompt if mcp else None) or "",
        "protocol_version": (mcp.protocol_version if mcp else None) or "",
        "session_id": (mcp.session_id if mcp else None) or "",
        "client": (mcp.client if mcp else None) or "",
        "server": (mcp.server if mcp else None) or "",
    }
