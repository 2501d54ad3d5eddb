"""``limit``: how much may be used in a time, together or for each caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations
from typing import Any, Literal

from penstock.meter.quotas import PARALLEL, Claim
from penstock.meter.windows import is_calendar, zone_of
from penstock.policy.call import Call, kind_of
from penstock.policy.language.keys import Key
from penstock.policy.language.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.state import Estimate

Amount = int | Decimal
OnExceed = Literal["finish", "cut", "warn", "downgrade"]

# What one call is expected to use, by unit. Tokens and money belong to model calls.
_EXPECTED: dict[str, Callable[[Estimate], Amount]] = {
    "tokens": lambda estimate: estimate.input_tokens + estimate.output_tokens,
    "input_tokens": lambda estimate: estimate.input_tokens,
    "output_tokens": lambda estimate: estimate.output_tokens,
    "usd": lambda estimate: estimate.usd,
}
UNITS = (*_EXPECTED, "requests", "tool_calls", PARALLEL)
# Exceptions of one limit; more are generated and belong into several rules with ``when``.
OVERRIDES_MAX = 5000


def _workload(call: Call) -> str:
    workload = call.caller.workload
    return f"{workload.namespace or ''}/{workload.name or ''}" if workload.name else ""


# A value nobody knows is "": callers without a name share one amount.
SCOPES: dict[str, Callable[[Call], str]] = {
    "workload": _workload,
    "namespace": lambda call: call.caller.workload.namespace or "",
    "service_account": lambda call: call.caller.workload.service_account or "",
    "team": lambda call: call.caller.team or "",
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
LOWER = ("host", "model")  # written in any case, counted in one


@dataclass(slots=True, frozen=True)
class Override:
    """Another amount for callers with these scope values."""

    scope: tuple[tuple[str, str], ...]
    amount: Amount
    burst: Amount | None


@dataclass(slots=True, frozen=True)
class Limit:
    """``amount`` of ``unit`` per ``every_seconds``, for each value of the ``per`` scopes.

    ``every_seconds`` is 0 for parallel. ``model`` is what ``downgrade`` sends instead.
    ``exact``: the input is counted before the call, not estimated.
    """

    unit: str
    amount: Amount
    every_seconds: int
    per: tuple[str, ...] = ()
    burst: Amount | None = None
    zone: str = "UTC"
    overrides: Mapping[tuple[tuple[str, str], ...], Override] | None = field(
        default=None, hash=False
    )
    on_exceed: OnExceed = "finish"
    model: str | None = None
    exact: bool = False

    def claim(self, rule: str, call: Call, estimate: Callable[[bool], Estimate]) -> Claim | None:
        """What this call takes from the limit; None when the unit does not concern it."""
        expected = _EXPECTED.get(self.unit)
        reserve: Amount = 1
        if expected is not None:
            if kind_of(call) != "model":
                return None
            reserve = expected(estimate(self.exact))
        elif self.unit == "tool_calls" and not _tool_calls(call):
            return None
        elif self.unit == "tool_calls":
            reserve = _tool_calls(call)
        scope = tuple((name, SCOPES[name](call)) for name in self.per)
        amount, burst = self.amount, self.burst
        if self.overrides and (override := self.override(scope)):
            amount, burst = override.amount, override.burst
        return Claim(
            rule, self.unit, amount, self.every_seconds, scope, reserve, self.zone, burst
        )  # fmt: skip

    def override(self, scope: tuple[tuple[str, str], ...]) -> Override | None:
        """The one that names most of the scopes; of several, that with the smallest amount."""
        assert self.overrides is not None  # asked for limits with overrides
        for size in range(len(scope), 0, -1):
            found = [
                override
                for names in combinations(scope, size)
                if (override := self.overrides.get(names)) is not None
            ]
            if found:
                return min(found, key=lambda override: override.amount)
        return None


def _tool_calls(call: Call) -> int:
    return call.exchange.mcp.methods.count("tools/call") if call.exchange.mcp else 0


def build(section: Section) -> Limit | None:
    """The rule of a ``limit`` section; None (and problems) when its keys do not fit together."""
    units = [unit for unit in UNITS if unit in section.lines]
    if len(units) != 1:
        found = f"found {', '.join(units)}" if units else "found none"
        section.report(f"a limit has exactly one of {', '.join(UNITS)}; {found}")
        return None
    values, unit = section.values, units[0]
    every = _every(section, unit)
    if unit not in values or every is None:
        return None  # reported where it stands
    _check_burst(section, unit, every)
    _check_zone(section, every)
    per = values.get("per", ())
    on_exceed, model = _on_exceed(section, unit)
    return Limit(
        unit, values[unit], every, per, values.get("burst"), values.get("zone", "UTC"),
        _overrides(section, unit, per), on_exceed, model, _exact(section, unit),
    )  # fmt: skip


def _every(section: Section, unit: str) -> int | None:
    if unit == PARALLEL:
        if "every" in section.lines:
            section.report("parallel counts calls that run now: leave 'every' out", "every")
        return 0
    if "every" not in section.lines:
        section.report(f"'every' is missing. {EVERY.doc}")
    every: int | None = section.values.get("every")
    return every


def _check_burst(section: Section, unit: str, every: int) -> None:
    burst, amount = section.values.get("burst"), section.values[unit]
    if burst is None:
        return
    if unit == PARALLEL or is_calendar(every):
        section.report("burst belongs to a limit whose 'every' is below one day", "burst")
    elif burst > amount:
        section.report(f"a burst above the limit of {amount} limits nothing", "burst")
    elif unit != "usd" and burst != int(burst):
        section.report(f"{unit} are counted in whole numbers", "burst")


def _check_zone(section: Section, every: int) -> None:
    zone = section.values.get("zone")
    if zone is None:
        return
    if not is_calendar(every):
        section.report("zone belongs to a calendar window: 'every' of 1d and longer", "zone")
    try:
        zone_of(zone)
    except ValueError as error:
        section.report(f"{error}; names are like Europe/Berlin", "zone")


def _on_exceed(section: Section, unit: str) -> tuple[OnExceed, str | None]:
    stated = section.values.get("on_exceed", "finish")
    if not isinstance(stated, Section):
        if stated == "cut" and unit not in _EXPECTED:
            section.report(f"cut ends an answer that grows; {unit} do not", "on_exceed")
        return stated, None
    model = stated.values.get("downgrade")
    return "downgrade", model.values.get("model") if isinstance(model, Section) else None


def _exact(section: Section, unit: str) -> bool:
    if "estimate" in section.lines and (unit not in _EXPECTED or unit == "output_tokens"):
        section.report(f"estimate is how the input of a call is counted; not {unit}", "estimate")
    return bool(section.values.get("estimate") == "tiktoken")


def _overrides(
    section: Section, unit: str, per: Sequence[str]
) -> Mapping[tuple[tuple[str, str], ...], Override] | None:
    found: dict[tuple[tuple[str, str], ...], Override] = {}
    given: tuple[Section, ...] = section.values.get("overrides") or ()
    if len(given) > OVERRIDES_MAX:
        section.report(f"more than {OVERRIDES_MAX} overrides", "overrides")
    for one in given[:OVERRIDES_MAX]:
        override = _override(one, unit, per, section.values.get("burst"))
        if override is not None and override.scope in found:
            one.report("another override names the same")
        elif override is not None:
            found[override.scope] = override
    return found or None


def _override(
    one: Section, unit: str, per: Sequence[str], own_burst: Amount | None
) -> Override | None:
    foreign = [name for name in (*UNITS, *SCOPES) if name in one.lines and name not in (*per, unit)]
    for name in foreign:
        what = f"the limit is of {unit}" if name in UNITS else "'per' does not name it"
        one.report(f"'{name}' means nothing here: {what}", name)
    scope = tuple(
        (name, value.lower() if name in LOWER else value)
        for name in per
        if (value := one.values.get(name)) is not None
    )
    if not scope and not foreign:
        one.report("an override names a value of one of the scopes in 'per'")
    if unit not in one.lines:
        one.report(f"'{unit}' is missing: the amount for these callers")
    amount, burst = one.values.get(unit), one.values.get("burst")
    if amount is None or not scope or foreign:
        return None
    if burst is not None and (own_burst is None or burst > amount):
        one.report(f"needs a burst of the limit, and at most {amount}", "burst")
    if burst is None and own_burst is not None:
        burst = min(own_burst, amount)
    return Override(scope, amount, burst)


_AMOUNTS = (
    Key("tokens", "count", "Input and output tokens together."),
    Key("input_tokens", "count", "Tokens sent."),
    Key("output_tokens", "count", "Tokens that come back."),
    Key("usd", "amount", "US dollars by the providers' list prices."),
    Key("requests", "count", "Calls of any kind."),
    Key("tool_calls", "count", "MCP tool calls."),
    Key(PARALLEL, "count", "Calls that run at the same time."),
)
EVERY = Key("every", "duration", "30s, 15m, 1h: a sliding window. 1d and longer: calendar windows.")
BURST = Key(
    "burst",
    "amount",
    "At most this much at once, refilled steadily: the amount per time is a rate, not a window.",
)
_DOWNGRADE = Key(
    "downgrade",
    "choice_or_section",
    "Send the call to another model of the same provider.",
    keys=(Key("model", "text", "The model to use instead.", required=True),),
    required=True,
)
_NEEDS: dict[str, Any] = {
    "oneOf": [
        {"required": [PARALLEL]},
        *({"required": [key.name, "every"]} for key in _AMOUNTS if key.name != PARALLEL),
    ]
}

KIND = Kind(
    "limit",
    "How much may be used: one unit, a time, and for whom apart. All limits must hold.",
    (
        *_AMOUNTS,
        EVERY,
        BURST,
        Key("zone", "text", "The time zone of a calendar window, as Europe/Berlin. Default UTC."),
        Key(
            "per",
            "choices",
            "Each value has its own amount; several count together. Without it all callers "
            "share one.",
            tuple(SCOPES),
        ),
        Key(
            "overrides",
            "sections",
            "Other amounts for named values: the scopes of per, and the amount.",
            keys=(
                *(Key(name, "text", f"The {name} it is for.") for name in SCOPES),
                *_AMOUNTS,
                BURST,
            ),
        ),
        Key(
            "estimate",
            "choice",
            "How the input is known before a call. learned (default): from finished calls. "
            "tiktoken: counted, for models of OpenAI.",
            ("learned", "tiktoken"),
        ),
        Key(
            "on_exceed",
            "choice_or_section",
            "finish (default): refuse calls, let those that run finish and keep the debt. cut: "
            "also end streams when the limit is reached. warn: let calls through and say so.",
            ("finish", "cut", "warn"),
            keys=(_DOWNGRADE,),
        ),
    ),
    build,
    also=_NEEDS,
)
