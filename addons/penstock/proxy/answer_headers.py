"""The headers of an MCP answer that repeat arguments: judged and restored like its texts.

``Mcp-Param-*`` repeat arguments of the call (MCP 2026-07-28), and a server may send them back: then
they hold the placeholders that left, or what its result holds. All other headers stay as they
came: they steer the client (session, version, challenge and its metadata, location, caching), and
a changed one would break what it steers. No model reads them.
"""

from __future__ import annotations

import time

from mitmproxy import http

from penstock.mcp.headers import encode_header
from penstock.policy.answer import answer_scanner
from penstock.policy.decision import Decision
from penstock.proxy.addons.govern import response_of
from penstock.proxy.call import LiveCall
from penstock.proxy.governance import Governance
from penstock.wire.channel_text import ChannelScanner, Replacement
from penstock.wire.family import Channel, Refusal
from penstock.wire.jsonrpc.checks import decode_header
from penstock.wire.jsonrpc.shape import PARAMETER_PREFIX

_PREFIX = PARAMETER_PREFIX.encode()


def judge_headers(
    governance: Governance, live: LiveCall, response: http.Response
) -> Refusal | None:
    """Change the headers as the rules say; the refusal that takes the answer's place, if any."""
    if live.call.exchange.mcp is None or live.scanner_for is None:
        return None
    fields = response.headers.fields
    if not any(name[: len(PARAMETER_PREFIX)].lower() == _PREFIX for name, _ in fields):
        return None
    decision = live.head_decision = Decision(policy_hash=live.decision.policy_hash)
    state = governance.state_for(live.call.caller)
    scanner_for = answer_scanner(governance.policy, live.call, state, time.time(), decision)
    judged = []
    for raw_name, raw_value in fields:
        name = raw_name.decode("latin-1").lower()
        scanner = None
        if name.startswith(PARAMETER_PREFIX) and scanner_for is not None:
            scanner = scanner_for(Channel(("headers", name), "tool_result"))
        value = raw_value
        if scanner is not None:
            text, refusal = _scanned(scanner, raw_value.decode("latin-1"))
            if refusal is not None:
                decision.verdict = decision.would = "deny"
                return refusal
            value = raw_value if text is None else text.encode("latin-1")
        judged.append((raw_name, value))
    response.headers.fields = tuple(judged)
    return None


def _scanned(scanner: ChannelScanner, value: str) -> tuple[str | None, Refusal | None]:
    """The header's new value, None where it stays; or the refusal."""
    text = decode_header(value)
    text = value if text is None else text  # broken base64 is read as it stands
    steps = (scanner.feed(text), scanner.finish())
    stop = next((step.stop for step in steps if step.stop is not None), None)
    changes = [one for step in steps for one in step.replacements]
    if stop is not None or not changes:
        return None, stop
    return encode_header(_replaced(text, changes)), None


def _replaced(text: str, changes: list[Replacement]) -> str:
    for change in sorted(changes, key=lambda one: one.start, reverse=True):
        text = text[: change.start] + change.text + text[change.end :]
    return text


def refuse(live: LiveCall, response_to: http.HTTPFlow, refusal: Refusal) -> None:
    """Answer with ``refusal`` in place of what came."""
    live.outcome = "refused"
    answer = live.family.refusal(refusal)
    live.status = answer.status
    response_to.response = response_of(answer)
