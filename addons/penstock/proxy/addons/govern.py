"""Addon Govern: decide about the request, and act.

The decision is ``policy.decide``, pure; this addon gives it what it asks for and does what
it says: nothing, edited bytes, or a refusal in the API's own error shape.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any

from mitmproxy import http
from mitmproxy.connection import ConnectionState

from penstock.exchange import HttpAnswer, Leaf
from penstock.mcp import follow_edits
from penstock.policy.answer import answer_scanner, may_act
from penstock.policy.decide import decide, decide_limits
from penstock.policy.decision import Decision, Reason
from penstock.policy.files import has_files, look_into_files
from penstock.policy.mcp_answer import McpAnswer
from penstock.policy.unreadable import refused, refused_unread, unread
from penstock.proxy.call import LiveCall, call_of
from penstock.proxy.cut import cutting
from penstock.proxy.engine.http_stream import LEFT
from penstock.proxy.governance import CallState, Governance
from penstock.proxy.mcp_promises import hear_cancelled, hold, keep_promises
from penstock.proxy.offload import OFFLOADED_BYTES, ThreadState, offload
from penstock.proxy.worth_judging import worth_scanning
from penstock.wire import edits
from penstock.wire.json_leaves import parse
from penstock.wire.openai.chat import ask_for_usage as add_usage
from penstock.wire.openai.socket import CLIENT_EVENTS

# An edited body no longer fits these: the caller signed or hashed what it sent.
BODY_SIGNATURES = ("content-md5", "digest", "content-digest", "x-amz-content-sha256", "signature")
# Who reports a chat stream's usage only when asked, and the limits that need to know it.
CHAT, ASKED = "openai.chat_completions", ("openai", "azure")
MEASURED = ("tokens", "input_tokens", "output_tokens", "usd")
UNREAD_SOCKET = (
    "The messages of this WebSocket are in no format that can be read here, and the policy has "
    "rules about content. Use the API over plain HTTP; or let the policy pass what cannot be read "
    "(unknown_api: pass)."
)
SLOW_SOCKET = (
    "The policy's encoders do not read the messages of a WebSocket. Use the API over plain HTTP."
)
SIGNED_SCHEMES = ("AWS4-", "Signature ")


class Govern:
    """Lets a request go, changes it, or answers it."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        live = call_of(flow)
        if live is None or flow.response is not None:
            return None
        aside = live.call.body_bytes > OFFLOADED_BYTES or self.governance.counts_aside(live.call)
        aside = aside or self.governance.detectors.slow
        if aside or (self.governance.policy.reads_documents and has_files(live.call)):
            return self.govern_aside(live, flow)
        with live.own_time():
            state = self.governance.state_for(live.call.caller)
            self.decide(live, state)
            if live.decision.pending:
                return self.govern_asking(live, flow)
            if live.decision.hold_seconds:
                return self.govern_held(live, flow)
            self.act(live, flow)
        return None

    async def govern_aside(self, live: LiveCall, flow: http.HTTPFlow) -> None:
        """The same for a large body: judged and edited in a worker thread."""
        key = self.governance.state_for(live.call.caller).caller_key
        state = ThreadState(self.governance, key, asyncio.get_running_loop())
        with live.own_time():
            await offload(self.decide, live, state)
            if live.decision.pending:
                await self.ask(live)
        if live.decision.hold_seconds:
            await self.govern_held(live, flow)
        elif not live.settled:
            with live.own_time():
                self.act(live, flow)

    async def govern_held(self, live: LiveCall, flow: http.HTTPFlow) -> None:
        """The same for a call that lacks nothing but a person's yes."""

        def gone() -> bool:
            closed = not flow.client_conn.state & ConnectionState.CAN_READ
            return live.settled or closed or LEFT in flow.metadata

        waited = live.decision
        if await hold(self.governance, live, gone):
            await self.decide_again(live)
            if gone():
                # Nobody is there for whom it would be made: the yes stays for a retry.
                waited.reservations = live.decision.reservations  # to be released
                live.decision = waited
        if not live.settled:
            self.act(live, flow)

    async def decide_again(self, live: LiveCall) -> None:
        """Decide about a call a person said yes to: policy and limits may have changed."""
        with live.own_time():
            self.decide(live, self.governance.state_for(live.call.caller))
            if live.decision.pending:
                await self.ask(live)

    async def govern_asking(self, live: LiveCall, flow: http.HTTPFlow) -> None:
        """The same for a call whose shared limits are not leased yet, or nearly used up."""
        with live.own_time():
            await self.ask(live)
            if not live.settled:
                self.act(live, flow)

    async def ask(self, live: LiveCall) -> None:
        """Ask the store of shared limits, then complete the decision."""
        policy, decision = self.governance.policy, live.decision
        await self.governance.lease(decision.pending)
        if live.settled:
            return  # the caller went away meanwhile: nobody would give back what is reserved now
        state = self.governance.state_for(live.call.caller)
        decide_limits(policy, live.call, decision, state, time.time())
        if decision.edits:
            live.edited_body = edits.apply(live.request.body, decision.edits)

    def mcp_answer(self, live: LiveCall, state: CallState) -> McpAnswer | None:
        def tell(reason: Reason) -> None:
            if live.answer_decision is not None and reason not in live.answer_decision.reasons:
                live.answer_decision.reasons.append(reason)

        made = McpAnswer(self.governance.policy, live.call, state, time.time(), tell)
        return made if made.changes() else None

    def act(self, live: LiveCall, flow: http.HTTPFlow) -> None:
        if live.call.exchange.mcp is not None:
            hear_cancelled(self.governance, live)
            if live.call.exchange.mcp.tool is not None:
                keep_promises(self.governance, live)
        if live.decision.verdict == "deny":
            self.refuse(live, flow)
            return
        if live.decision.model is not None:
            live.call.exchange.model = live.decision.model  # a limit's downgrade: it is that one's
        if live.edited_body is not None:
            self.edit(live, flow, live.edited_body)
        if live.outcome != "refused":
            self.ask_for_usage(live, flow)
            self.prepare_answer(live, flow)
            self.governance.load_prices_soon()

    def decide(self, live: LiveCall, state: CallState) -> None:
        policy = self.governance.policy
        began = time.perf_counter()
        unreadable = look_into_files(policy, live.call, live.request.body)
        live.uninspectable = live.uninspectable or unreadable
        why = self.unread(live)
        if why is None:
            live.decision = decide(policy, live.call, state, time.time())
            if live.decision.edits:
                live.edited_body = edits.apply(live.request.body, live.decision.edits)
        else:
            live.decision = refused_unread(policy, live.call, why)
        live.check_seconds += time.perf_counter() - began

    def unread(self, live: LiveCall) -> str | None:
        """Why the call cannot be judged as a whole, or not be told of; None when it can."""
        policy = self.governance.policy
        if not self.governance.can_record():
            return "The audit log cannot be written, so the call could not be accounted for."
        why = unread(policy, live.call, live.uninspectable)
        if why is not None or not policy.looks_into_calls:
            return why
        upgrades = live.request.headers.get("upgrade", "").lower() == "websocket"
        if upgrades and live.family.api not in CLIENT_EVENTS and policy.unknown_api != "pass":
            return UNREAD_SOCKET
        if upgrades and self.governance.detectors.slow:
            return SLOW_SOCKET
        return None

    def edit(self, live: LiveCall, flow: http.HTTPFlow, body: bytes) -> None:
        """Put the edited body in place of the caller's; refuse where that would break it."""
        signed = signature_over_body(live)
        if signed is not None and not signature_falls_away(live, signed):
            message = f"The body must be changed, but the caller signed it ({signed})."
            live.decision.edits.clear()
            denied = refused(live.call, editing_rule(live.decision), message, enforced=True)
            denied.findings = live.decision.findings
            denied.reservations = live.decision.reservations  # to be released
            denied.policy_hash = live.decision.policy_hash
            live.decision = denied
            self.refuse(live, flow)
            return
        if live.call.exchange.mcp is not None:
            # Arguments that are repeated in headers must stay the same there.
            before = live.call.exchange.document
            changed = follow_edits(live.request.headers, before, parse(body).value)
            flow.request.headers.update(changed)
        self.send_instead(flow, body)

    def send_instead(self, flow: http.HTTPFlow, body: bytes) -> None:
        """Put ``body``, without content coding, in place of the request's."""
        headers = flow.request.headers
        headers.pop("content-encoding", None)  # what was judged is the decoded body
        flow.request.raw_content = body
        if "content-length" in headers:
            headers["content-length"] = str(len(body))

    def ask_for_usage(self, live: LiveCall, flow: http.HTTPFlow) -> None:
        """A chat stream under a token or money limit must say what it used.

        OpenAI and Azure say it only when asked (``stream_options.include_usage``); the chunk
        that carries it is hidden again from a caller that did not ask.
        """
        exchange, policy = live.call.exchange, self.governance.policy
        if not exchange.stream or exchange.api != CHAT or exchange.include_usage:
            return
        if policy.stream_usage == "ask":
            enforced = {rule.id for rule in policy.limits if rule.enforced}
            held = [claim for one in live.decision.reservations for claim in one.claims]
            asks = any(c.unit in MEASURED and c.rule in enforced for c in held)
        else:
            asks = policy.stream_usage == "always" and policy.mode == "enforce"
        if live.call.destination.provider in ASKED and asks:
            body = live.request.body if live.edited_body is None else live.edited_body
            self.send_instead(flow, add_usage(body))
            live.hides_usage_chunk = True

    def refuse(self, live: LiveCall, flow: http.HTTPFlow) -> None:
        assert live.decision.refusal is not None  # a denial carries its refusal
        live.outcome = "refused"
        answer = live.family.refusal(live.decision.refusal)
        mcp = live.call.exchange.mcp
        if mcp is not None and answer.status == 200:
            event = live.family.stream_refusal(live.call.exchange, live.decision.refusal)
            if self.governance.old_streams.say(live, event):
                answer = HttpAnswer(202, {**answer.headers, "content-type": "text/plain"})
        live.status = answer.status
        flow.response = response_of(answer)

    def prepare_answer(self, live: LiveCall, flow: http.HTTPFlow) -> None:
        """Ask for an uncompressed answer where it may have to be edited."""
        self.expect_answer(live)
        if live.may_change_answer and "accept-encoding" in flow.request.headers:
            flow.request.headers["accept-encoding"] = "identity"

    def expect_answer(self, live: LiveCall) -> None:
        """Say what will look into the call's answer."""
        state = self.governance.state_for(live.call.caller)
        live.answer_decision = Decision(policy_hash=live.decision.policy_hash)
        live.scanner_for = answer_scanner(
            self.governance.policy, live.call, state, time.time(), live.answer_decision
        )
        live.watches = not may_act(self.governance.policy, state)
        live.cuts = cutting(self.governance.policy, live)
        mcp = live.call.exchange.mcp
        if mcp is not None and self.governance.policy.tools:
            live.mcp_answer = self.mcp_answer(live, state)
        if mcp is not None and live.scanner_for is not None:
            live.call.exchange.telling = partial(worth_scanning, self.governance, state)
        elif mcp is not None and not live.cuts:
            live.call.exchange.telling = nothing


def nothing(leaves: Any) -> Sequence[Leaf]:
    """What is worth judging of an answer that nobody looks into."""
    return ()


def editing_rule(decision: Decision) -> str:
    """The rule that wants the body changed."""
    acting = (reason for reason in decision.reasons if reason.enforced)
    return next(reason.rule for reason in acting if reason.verdict == "edit")


def signature_falls_away(live: LiveCall, signed: str) -> bool:
    """True when the call goes with keys of ours wherever it goes: AWS's signature stays here."""
    plan = live.decision.route
    if plan is None or signed not in ("AWS4", "x-amz-content-sha256"):
        return False
    return all(choice.use is not None for choice in plan.choices)


def signature_over_body(live: LiveCall) -> str | None:
    """The header that signs or hashes the request's body, if there is one.

    An AWS signature that will be made anew with keys of ours does not count.
    """
    headers = live.request.headers
    use = live.decision.credential
    if use is not None and use.spec.form == "sigv4":
        rest = (name for name in BODY_SIGNATURES if name != "x-amz-content-sha256")
        return next((name for name in rest if name in headers), None)
    if headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
        return None
    for scheme in SIGNED_SCHEMES:
        if headers.get("authorization", "").startswith(scheme):
            return scheme.rstrip("- ")
    return next((name for name in BODY_SIGNATURES if name in headers), None)


def response_of(answer: HttpAnswer) -> http.Response:
    """An answer of ours as mitmproxy wants it; content-length is set from the body."""
    return http.Response.make(answer.status, answer.body, dict(answer.headers))
