"""A Record made fit to be kept: no content, no secret, every string short and printable.

Everything that keeps a Record reads it after this, so the promise is made in one place.
What an MCP call carried (arguments, results) is dropped; what others choose freely (model
and tool names, paths, error types) is cut, and searched for secrets when a scanner is
given. Error texts never pass: a word is all that remains of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from penstock.exchange import Caller, McpCall
from penstock.record.attributes import PARAMETERS
from penstock.record.record import Record
from penstock.record.search import Scan, Search

# Longest string kept. Model, tool and host names are shorter; more is somebody's payload.
CHARACTERS_MAX = 200
# Longest list kept: a tools/list of a large server has some hundreds of names.
ITEMS_MAX = 100

# Linear: one class, anchored, bounded.
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
# ``response: ValueError``: where a check raised, and what. Nothing may follow the class's name.
PLACE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}: [A-Z][A-Za-z]{0,40}(?:Error|Exception)\Z")
TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


def clean(record: Record, search: Search | None = None) -> Record:
    """The same Record, changed in place: see the module. ``search`` finds secrets."""
    record.path = plain(record.path.partition("?")[0])
    record.method = plain(record.method)
    record.model = maybe_plain(record.model)
    record.answer_model = maybe_plain(record.answer_model)
    record.answer_id = maybe_plain(record.answer_id)
    for attempt in record.attempts:
        attempt.model = maybe_plain(attempt.model)
    record.error_type = word(record.error_type)
    if not record.failure_reason or not PLACE.match(record.failure_reason):
        record.failure_reason = word(record.failure_reason)
    record.finish_reasons = plain_list(record.finish_reasons)
    record.tool_calls = plain_list(record.tool_calls)
    record.caller = plain_caller(record.caller)
    if not record.destination.host.isprintable() or len(record.destination.host) > CHARACTERS_MAX:
        record.destination = replace(record.destination, host=plain(record.destination.host))
    if record.trace_parent and not TRACE_PARENT.match(record.trace_parent):
        record.trace_parent = None
    if record.mcp:
        record.mcp = without_content(record.mcp)
    if record.approval and record.approval.by:
        by = record.approval.by
        by = replace(by, user=plain(by.user), name=plain(by.name), reason=plain(by.reason))
        record.approval = replace(record.approval, by=by)
    if record.usage.raw is not None:
        record.usage = replace(record.usage, raw=None)
    if record.parameters:
        record.parameters = {
            name: value
            for name, value in record.parameters.items()
            if name in PARAMETERS and isinstance(value, int | float)
        }
    record.limits = [numbers_of(limit) for limit in record.limits[:ITEMS_MAX]]
    if search and search.any_in(free_strings(record)):
        return without_secrets(record, search.scan)
    return record


def plain(text: str) -> str:
    """Short and printable."""
    text = text[:CHARACTERS_MAX]
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def maybe_plain(text: str | None) -> str | None:
    """``plain``, None kept."""
    return None if text is None else plain(text)


def plain_list(texts: Iterable[str]) -> list[str]:
    """``plain`` for each of the first ITEMS_MAX."""
    return [plain(str(text)) for text, _ in zip(texts, range(ITEMS_MAX), strict=False)]


def word(text: str | None) -> str | None:
    """The identifier a text begins with; ``other`` when it begins with none.

    ``ValueError: bad key abc`` becomes ``ValueError``: error texts quote what they were given.
    """
    if not text:
        return None
    found = WORD.match(text)
    return found.group() if found else "other"


def plain_caller(caller: Caller) -> Caller:
    """The caller without claims, its strings short and printable."""
    user, agent = maybe_plain(caller.user), maybe_plain(caller.agent)
    session, user_agent = maybe_plain(caller.session), maybe_plain(caller.user_agent)
    if not caller.claims and (user, agent, session, user_agent) == (
        caller.user,
        caller.agent,
        caller.session,
        caller.user_agent,
    ):
        return caller
    return replace(
        caller, user=user, agent=agent, session=session, user_agent=user_agent, claims={}
    )


def without_content(mcp: McpCall) -> McpCall:
    """What was called and how it went; not with what, nor what came back."""
    address = mcp.resource_uri.partition("?")[0].partition("#")[0] if mcp.resource_uri else None
    return McpCall(
        methods=plain_list(mcp.methods),
        ids=[plain(one) if isinstance(one, str) else one for one in mcp.ids[:ITEMS_MAX]],
        tool=maybe_plain(mcp.tool),
        resource_uri=maybe_plain(address),
        prompt=maybe_plain(mcp.prompt),
        protocol_version=maybe_plain(mcp.protocol_version),
        modern=mcp.modern,
        session_id=None,  # a bearer of the session: as good as a credential
        client=maybe_plain(mcp.client),
        server=maybe_plain(mcp.server),
        tools_listed=None if mcp.tools_listed is None else plain_list(mcp.tools_listed),
        server_messages=plain_list(mcp.server_messages),
        rpc_error_code=mcp.rpc_error_code,
        is_error=mcp.is_error,
        notes=plain_list(mcp.notes),
    )


def numbers_of(limit: Mapping[str, object]) -> Mapping[str, object]:
    """The fields a limit's standing may have: names of the policy and numbers."""
    named = {name: plain(str(limit[name])) for name in ("rule", "unit") if name in limit}
    counted = ("limit", "used", "reserved", "settled", "remaining", "retry_after_seconds")
    return named | {name: plain(str(limit[name])) for name in counted if name in limit}


def free_strings(record: Record) -> Iterator[str]:
    """Every string in a Record that the caller, the upstream or a tool server chose."""
    caller = record.caller
    texts = (
        record.path, record.method, record.model, record.answer_model, record.answer_id,
        record.error_type, record.failure_reason, record.destination.host,
        caller.user, caller.agent, caller.session, caller.user_agent,
        caller.process.name if caller.process else None,
    )  # fmt: skip
    yield from (text for text in texts if text)
    yield from record.finish_reasons
    yield from record.tool_calls
    if mcp := record.mcp:
        named = (mcp.tool, mcp.resource_uri, mcp.prompt, mcp.protocol_version)
        yield from (text for text in (*named, mcp.client, mcp.server) if text)
        yield from mcp.methods
        yield from mcp.tools_listed or ()
        yield from mcp.server_messages
        yield from mcp.notes
        yield from (one for one in mcp.ids if isinstance(one, str))
    if record.approval and (by := record.approval.by):
        yield from (by.user, by.name, by.reason)


def without_secrets(record: Record, scan: Scan) -> Record:
    """The Record with every secret in any of its strings replaced by its type. Rare, so slow."""

    def mend(text: str) -> str:
        for finding in sorted(scan(text), key=lambda one: one.start, reverse=True):
            text = f"{text[: finding.start]}[{finding.type}]{text[finding.end :]}"
        return text

    for field in fields(record):
        if field.name not in ("id", "policy_hash", "trace_parent", "reasons", "findings"):
            setattr(record, field.name, _rebuilt(getattr(record, field.name), mend))
    return record


def _rebuilt(value: Any, mend: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, list | tuple):
        return type(value)(_rebuilt(one, mend) for one in value)
    if isinstance(value, Mapping):
        return {key: _rebuilt(one, mend) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changes = {one.name: _rebuilt(getattr(value, one.name), mend) for one in fields(value)}
        return replace(value, **changes)
    return value
