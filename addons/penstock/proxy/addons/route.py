"""Addon Route: gives a routed call its attempts: each target's request, each target's key.

Runs when the request is in its last form: judged, edited, its answer prepared for. A call the
decision does not route is left alone. Keys are fetched before the first attempt, so that
failing over waits for nothing but the target.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mitmproxy import http

from penstock.policy.decision import Use
from penstock.proxy.addons.credential import put as put_credential
from penstock.proxy.addons.credential import refuse
from penstock.proxy.addons.govern import signature_over_body
from penstock.proxy.attempts import CallAttempts, Stop
from penstock.proxy.call import LiveCall, call_of
from penstock.proxy.engine.failover import ATTEMPTS
from penstock.proxy.governance import Governance
from penstock.proxy.translate import rehoming_of, translated_request, translation_of
from penstock.route.form import Fields, formed, rehomed_form, translated_form
from penstock.route.plan import Choice, Plan

if TYPE_CHECKING:
    from penstock.route.credentials.fetched import Fetched

Keys = dict[int, "Fetched"]  # by the choice's place in the plan


class Route:
    """Puts ``CallAttempts`` into the flow."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        live = call_of(flow)
        if live is None or flow.response is not None or live.decision.route is None:
            return None
        plan = live.decision.route
        keys: Keys = {}
        for index, choice in enumerate(plan.choices):
            if choice.use is not None:
                subject = live.subject_for(choice.use.spec)
                fetched = self.governance.credentials.current(choice.use.spec, subject)
                if fetched is None:
                    return self.fetch(live, flow, plan)
                keys[index] = fetched
        with live.own_time():
            self.attempts(live, flow, plan, keys)
        return None

    async def fetch(self, live: LiveCall, flow: http.HTTPFlow, plan: Plan) -> None:
        """Wait for the keys; a target whose key is not to be had is left out."""
        from penstock.route.credentials.fetched import SourceError

        keys: Keys = {}
        for index, choice in enumerate(plan.choices):
            if choice.use is None:
                continue
            subject = live.subject_for(choice.use.spec)
            try:
                keys[index] = await self.governance.credentials.obtain(choice.use.spec, subject)
            except SourceError as error:
                live.failure_reason = f"{choice.use.rule}: {error}"
        with live.own_time():
            self.attempts(live, flow, plan, keys)

    def attempts(self, live: LiveCall, flow: http.HTTPFlow, plan: Plan, keys: Keys) -> None:
        """Each target that can be asked, with its request; refuse where there is none."""
        secrets = [text for fetched in keys.values() for text in fetched.secrets]
        if secrets:
            watch_for(live, flow, secrets)
        asked = live.decision.model or live.call.exchange.model
        choices = [renamed(choice, live.decision.model) for choice in plan.choices]
        renames = any(one.asked_model != asked or one.into or one.home for one in choices)
        fields, body = content_of(live, flow, renames)
        signed, request = signature_over_body(live), flow.request
        where = request.scheme, request.host, request.port
        stops: list[Stop] = []
        problems: list[str] = []
        for index, choice in enumerate(choices):
            use, fetched = choice.use, keys.get(index)
            if use is not None and fetched is None and use.on_error == "deny":
                continue
            changes = not choice.target.is_original or choice.asked_model != asked
            changes = changes or live.edited_body is not None
            if signed is not None and fetched is None and changes:
                continue
            sign = None
            if use is not None and fetched is not None:
                sign = partial(put_key, live, use, fetched)
            if choice.into is None and choice.home is not None:
                stream = live.call.exchange.stream
                made = partial(rehomed_form, choice, fields, body, stream)
                stops.append(Stop(choice, made, sign, partial(rehoming_of, live, choice)))
                continue
            if choice.into is None:
                made = partial(formed, choice, asked, where, request.path, fields, body)
                stops.append(Stop(choice, made, sign))
                continue
            translated = translated_request(live, choice, body)
            if isinstance(translated, str):
                problems.append(translated)
                continue
            made = partial(translated_form, choice, fields, translated)
            answers = partial(translation_of, live, choice, translated)
            stops.append(Stop(choice, made, sign, answers))
        if not stops:
            why = f"the caller signed it ({signed})" if signed else "no target's key is to be had"
            why = problems[0] if problems else why
            refuse(live, flow, plan.rule, f"The call cannot be sent to another target: {why}.")
            return
        board, retries = self.governance.board, self.governance.retries
        live.attempts = flow.metadata[ATTEMPTS] = CallAttempts(live, plan, stops, board, retries)
        live.routed_from = live.call.destination.host


def renamed(choice: Choice, downgraded: str | None) -> Choice:
    """The choice for the model a limit sent the call to, if one did."""
    if downgraded is None:
        return choice
    return replace(choice, asked_model=choice.target.model_for(downgraded))


def content_of(live: LiveCall, flow: http.HTTPFlow, changes: bool) -> tuple[Fields, bytes]:
    """Header fields and body as they would leave; without content coding if the body changes."""
    fields, body = flow.request.headers.fields, flow.request.raw_content or b""
    if flow.request.data.authority and "host" not in flow.request.headers:
        # HTTP/2 names the host elsewhere; the forms of services look for it here.
        fields = ((b"host", flow.request.data.authority), *fields)
    if changes and "content-encoding" in flow.request.headers:
        # An edited body has none any more; this one is as it came.
        kept = tuple(field for field in fields if field[0].lower() != b"content-encoding")
        return kept, live.request.body
    return fields, body


def watch_for(live: LiveCall, flow: http.HTTPFlow, secrets: list[str]) -> None:
    """Nothing of the targets' keys may come back."""
    from penstock.proxy.echo_guard import watch_for

    watch_for(live, secrets)
    if "accept-encoding" in flow.request.headers:
        flow.request.headers["accept-encoding"] = "identity"


def put_key(live: LiveCall, use: Use, fetched: Fetched, flow: http.HTTPFlow) -> None:
    """Put the target's key into its request."""
    put_credential(live, flow, use, fetched)
