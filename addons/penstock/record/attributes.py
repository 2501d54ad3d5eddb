"""A Record as span attributes: every name in one place, as plain strings.

The gen_ai.* names are those of semantic-conventions v1.41 (what back ends read today); a
test pins them, so that an upgrade cannot rename them silently. Nothing of OpenTelemetry is
imported here. Cost stands under the name Langfuse reads. No content, ever.
"""

from __future__ import annotations

from typing import Literal

from penstock.exchange import McpCall
from penstock.record.record import Record
from penstock.route.outcome import Attempt

Value = str | bool | int | float | list[str]
Attributes = dict[str, Value]
SpanMode = Literal["client", "proxy"]

# gen_ai.provider.name: the conventions' well-known values, where they differ from ours.
PROVIDER_NAMES = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}

# Request parameters that are numbers and mean the same everywhere.
PARAMETERS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}

NAMES_MAX = 50  # longest list on a span
ATTEMPT_FINE = ("answered", "aborted", "refused")  # the target did nothing wrong


def provider_name(record: Record) -> str:
    """``gen_ai.provider.name``: who answers, else the format spoken."""
    provider = record.destination.provider or (record.api or "unknown").partition(".")[0]
    return PROVIDER_NAMES.get(provider, provider)


def error_type(record: Record) -> str | None:
    """``error.type``: the provider's word, else the status, else how the call ended.

    A client that went away on purpose is no error.
    """
    if record.mcp and record.mcp.rpc_error_code is not None:
        return str(record.mcp.rpc_error_code)
    if record.mcp and record.mcp.is_error:
        return "tool_error"
    if record.error_type:
        return record.error_type
    if record.status and record.status >= 400:
        return str(record.status)
    return record.outcome if record.outcome in ("failed", "cut") else None


def span_name(record: Record, mode: SpanMode = "client") -> str:
    """``chat gpt-4o``, ``tools/call search``; ``proxy chat gpt-4o`` in proxy mode."""
    if record.mcp:
        target = record.mcp.tool or record.mcp.prompt
        name = record.mcp.methods[0] if record.mcp.methods else "mcp"
    else:
        target, name = record.model, record.operation or "call"
    name = f"{name} {target}" if target else name
    return f"proxy {name}" if mode == "proxy" else name


def start_attributes(record: Record, mode: SpanMode = "client") -> Attributes:
    """What a sampler may read: present from the start of the span."""
    values: dict[str, Value | None] = {
        "gen_ai.provider.name": None if record.mcp else provider_name(record),
        "gen_ai.request.model": record.model,
        "server.address": record.destination.host,
        "server.port": record.destination.port,
    }
    if mode == "client":
        values["gen_ai.operation.name"] = _operation(record)
    if record.mcp:
        values["mcp.method.name"] = record.mcp.methods[0] if record.mcp.methods else None
    return _given(values)


def attempt_attributes(attempt: Attempt, number: int) -> Attributes:
    """One target of a routed call. No operation and no usage: nothing here is counted again."""
    provider = attempt.provider
    values: dict[str, Value | None] = {
        "error.type": None if attempt.outcome in ATTEMPT_FINE else attempt.outcome,
        "gen_ai.provider.name": PROVIDER_NAMES.get(provider, provider) if provider else None,
        "gen_ai.request.model": attempt.model,
        "http.request.resend_count": number or None,
        "http.response.status_code": attempt.status,
        "server.address": attempt.target.partition("/")[0].partition(":")[0],
        "penstock.attempt.outcome": attempt.outcome,
        "penstock.attempt.billed": attempt.billed,
        "penstock.attempt.translated": attempt.translated,
    }
    return _given(values)


def end_attributes(record: Record, mode: SpanMode = "client") -> Attributes:
    """Everything else. In proxy mode usage has names that no back end adds to a bill."""
    values: dict[str, Value | None] = {
        "error.type": error_type(record),
        "gen_ai.request.stream": record.stream or None,
        "gen_ai.response.id": record.answer_id,
        "gen_ai.response.model": record.answer_model,
        "gen_ai.response.finish_reasons": record.finish_reasons[:NAMES_MAX],
        "gen_ai.response.time_to_first_chunk": record.first_byte_seconds if record.stream else None,
        "http.request.method": record.method,
        "http.response.status_code": record.status,
        "http.request.resend_count": record.retry_count or None,
        "url.path": record.path,
        "user_agent.original": record.caller.user_agent,
        "user.id": record.caller.user,
        "session.id": record.caller.session,
    }
    for name, attribute in PARAMETERS.items():
        value = record.parameters.get(name)
        if isinstance(value, int | float) and not (name == "n" and value == 1):
            values[attribute] = value
    if record.mcp:
        values |= _mcp(record.mcp)
    return _given(values | _usage(record, mode) | _penstock(record))


def _operation(record: Record) -> str | None:
    if record.mcp:
        return "execute_tool" if record.mcp.tool else None
    return record.operation or "chat"


def _usage(record: Record, mode: SpanMode) -> dict[str, Value | None]:
    usage = record.usage
    tokens: dict[str, Value | None] = {
        "input_tokens": usage.input_tokens if usage.input_total is None else usage.input_total,
        "output_tokens": usage.output_tokens if usage.output_total is None else usage.output_total,
        "cache_read.input_tokens": usage.cache_read_tokens,
        "cache_creation.input_tokens": usage.cache_write_tokens,
        "reasoning.output_tokens": usage.reasoning_tokens,
        "cost": None if record.cost_usd is None else float(record.cost_usd),
    }
    if usage.estimated:  # the conventions: no usage that was not obtained
        counted: dict[str, Value | None] = {"penstock.usage.estimated": True}
        return counted | {f"penstock.usage.{name}": value for name, value in tokens.items()}
    prefix = "gen_ai.usage" if mode == "client" else "penstock.usage"
    return {f"{prefix}.{name}": value for name, value in tokens.items()}


def _mcp(mcp: McpCall) -> dict[str, Value | None]:
    identifier = mcp.ids[0] if mcp.ids else None
    code = mcp.rpc_error_code
    return {
        "gen_ai.tool.name": mcp.tool,
        "gen_ai.prompt.name": mcp.prompt,
        "mcp.resource.uri": mcp.resource_uri,
        "mcp.protocol.version": mcp.protocol_version,
        "jsonrpc.request.id": None if identifier is None else str(identifier),
        "rpc.response.status_code": None if code is None else str(code),
        "network.transport": "tcp",
    }


def _penstock(record: Record) -> dict[str, Value | None]:
    enforced = [one.rule for one in record.reasons if one.enforced]
    shadow = [one.rule for one in record.reasons if not one.enforced]
    return {
        "penstock.call.id": record.id,
        "penstock.outcome": record.outcome,
        "penstock.policy.hash": record.policy_hash,
        "penstock.policy.mode": record.mode,
        "penstock.policy.verdict": record.verdict,
        "penstock.policy.would": record.would if record.would != record.verdict else None,
        "penstock.policy.rules": enforced[:NAMES_MAX],
        "penstock.policy.shadow_rules": shadow[:NAMES_MAX],
        "penstock.findings": sorted({one.finding.type for one in record.findings})[:NAMES_MAX],
        "penstock.edits": record.edits or None,
        "penstock.restored": record.restored or None,
        "penstock.failure": record.failure,
        "penstock.added_seconds": record.own_seconds,
        "penstock.check_seconds": record.check_seconds,
        "penstock.workload.name": record.caller.workload.name,
        "penstock.agent": record.caller.agent,
    }


def _given(values: dict[str, Value | None]) -> Attributes:
    """Without what is unknown or empty; zero and False are known."""
    return {name: one for name, one in values.items() if one is not None and one not in ("", [])}
