"""``limit``: how much may be used in a time, together or for each caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from penstock.meter.quotas import Claim
from penstock.policy.call import Call, kind_of
from penstock.policy.keys import Key
from penstock.policy.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.state import Estimate

Amount = int | Decimal

# What one call is expected to use, by unit. Tokens and money belong to model calls.
_EXPECTED: dict[str, Callable[[Estimate], Amount]] = {
    "tokens": lambda estimate: estimate.input_tokens + estimate.output_tokens,
    "input_tokens": lambda estimate: estimate.input_tokens,
    "output_tokens": lambda estimate: estimate.output_tokens,
    "usd": lambda estimate: estimate.usd,
}
UNITS = (*_EXPECTED, "requests", "tool_calls")


def _workload(call: Call) -> str:
    workload = call.caller.workload
    return f"{workload.namespace or ''}/{workload.name or ''}" if workload.name else ""


# A value nobody knows is "": callers without a name share one amount.
SCOPES: dict[str, Callable[[Call], str]] = {
    "workload": _workload,
    "namespace": lambda call: call.caller.workload.namespace or "",
    "service_account": lambda call: call.caller.workload.service_account or "",
    "user": lambda call: call.caller.user or "",
    "agent": lambda call: call.caller.agent or "",
    "session": lambda call: call.caller.session or "",
    "process": lambda call: call.caller.process.name if call.caller.process else "",
    "credential": lambda call: call.caller.credential or "",
    "provider": lambda call: call.destination.provider or "",
    "host": lambda call: call.destination.host,
    "model": lambda call: (call.exchange.model or "").lower(),
    "api": lambda call: call.exchange.api,
    "tool": lambda call: (call.exchange.mcp.tool if call.exchange.mcp else None) or "",
}


@dataclass(slots=True, frozen=True)
class Limit:
    """``amount`` of ``unit`` per ``every_seconds``, for each value of the ``per`` scopes."""

    unit: str
    amount: Amount
    every_seconds: int
    per: tuple[str, ...] = ()

    def claim(self, rule: str, call: Call, estimate: Callable[[], Estimate]) -> Claim | None:
        """What this call takes from the limit; None when the unit does not concern it."""
        expected = _EXPECTED.get(self.unit)
        reserve: Amount = 1
        if expected is not None:
            if kind_of(call) != "model":
                return None
            reserve = expected(estimate())
        elif self.unit == "tool_calls" and not _tool_calls(call):
            return None
        elif self.unit == "tool_calls":
            reserve = _tool_calls(call)
        scope = tuple((name, SCOPES[name](call)) for name in self.per)
        return Claim(rule, self.unit, self.amount, self.every_seconds, scope, reserve)


def _tool_calls(call: Call) -> int:
    return call.exchange.mcp.methods.count("tools/call") if call.exchange.mcp else 0


def build(section: Section) -> Limit | None:
    """The rule of a ``limit`` section; None (and a problem) without exactly one unit."""
    units = [unit for unit in UNITS if unit in section.lines]
    if len(units) != 1:
        found = f"found {', '.join(units)}" if units else "found none"
        section.report(f"a limit has exactly one of {', '.join(UNITS)}; {found}")
        return None
    values = section.values
    if units[0] not in values or "every" not in values:
        return None  # reported where it stands
    return Limit(units[0], values[units[0]], values["every"], values.get("per", ()))


KIND = Kind(
    "limit",
    "How much may be used: one unit, a time, and for whom apart. All limits must hold.",
    (
        Key("tokens", "count", "Input and output tokens together."),
        Key("input_tokens", "count", "Tokens sent."),
        Key("output_tokens", "count", "Tokens that come back."),
        Key("usd", "amount", "US dollars by the providers' list prices."),
        Key("requests", "count", "Calls of any kind."),
        Key("tool_calls", "count", "MCP tool calls."),
        Key(
            "every",
            "duration",
            "30s, 15m, 1h: a sliding window. 1d and longer: calendar windows.",
            required=True,
        ),
        Key(
            "per",
            "choices",
            "Each value has its own amount; several count together. Without it all callers "
            "share one.",
            tuple(SCOPES),
        ),
    ),
    build,
)
