"""Addon Credential: the real key in place of the caller's, and no way back for it.

Does nothing to a call no credential rule speaks of. A key that is at hand goes in at once;
one that has to be fetched holds this call only. What comes back is freed of the key before
anything else reads it: header fields, bodies plain and streamed, trailers.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING

from mitmproxy import http

from penstock.policy.decision import Use
from penstock.proxy.addons.govern import response_of
from penstock.proxy.call import LiveCall, call_of
from penstock.proxy.capture import decoded_body
from penstock.proxy.governance import Governance
from penstock.proxy.real_key import Sent, refused, rejects, with_key, without

if TYPE_CHECKING:
    from penstock.record.metrics import Metrics
    from penstock.route.credentials.fetched import Fetched, SourceError
    from penstock.route.credentials.store import Credentials

IDENTITY = ("", "identity")

WATCHED = (
    ("fetches", "Times a credential was asked for at its source."),
    ("failures", "Times a source gave none."),
    ("echoes", "Times a real key was taken out of an answer."),
)


class Credential:
    """Swaps keys in, and takes them out of what comes back."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        live = call_of(flow)
        if live is None or flow.response is not None or live.decision.credential is None:
            return None
        use = live.decision.credential
        subject = live.subject_for(use.spec)
        fetched = self.governance.credentials.current(use.spec, subject)
        if fetched is None:
            return self.fetch(live, flow, use, subject)
        self.use(live, flow, use, fetched)
        return None

    async def fetch(
        self, live: LiveCall, flow: http.HTTPFlow, use: Use, subject: str | None
    ) -> None:
        from penstock.route.credentials.fetched import SourceError

        try:
            fetched = await self.governance.credentials.obtain(use.spec, subject)
        except SourceError as error:
            self.without(live, flow, use, error)
        else:
            self.use(live, flow, use, fetched)

    def use(self, live: LiveCall, flow: http.HTTPFlow, use: Use, fetched: Fetched) -> None:
        """Send the call with this key; with none of the caller's."""
        from penstock.proxy.echo_guard import watch_for
        from penstock.route.credentials.fetched import SourceError

        with live.own_time():
            try:
                put(live, flow, use, fetched)
            except SourceError as error:
                self.without(live, flow, use, error)
                return
            watch_for(live, fetched.secrets)
            if "accept-encoding" in flow.request.headers:
                flow.request.headers["accept-encoding"] = "identity"

    def without(self, live: LiveCall, flow: http.HTTPFlow, use: Use, error: SourceError) -> None:
        """There is no key: refuse, or go on with the caller's own, as the rule says."""
        answer = without(live, use, error)
        if answer is not None:
            flow.response = response_of(answer)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        live = call_of(flow)
        response = flow.response
        if live is None or live.echoes is None or response is None:
            return
        use, echoes = live.decision.credential, live.echoes
        # None: a routed call was answered by a target that has no key of ours.
        if use is not None and rejects(use, response.status_code):
            subject = live.subject_for(use.spec)
            self.governance.credentials.rejected(use.spec, subject)
        response.headers.fields = tuple(
            (name, echoes.mask(value)) for name, value in response.headers.fields
        )
        response.data.reason = echoes.mask(response.data.reason)
        coding = response.headers.get("content-encoding", "").strip().lower()
        if coding not in IDENTITY:
            # It was asked not to. A key inside could not be seen, so the answer leaves decoded.
            live.coding = response.headers.pop("content-encoding")

    def response(self, flow: http.HTTPFlow) -> None:
        live = call_of(flow)
        response = flow.response
        if live is None or live.echoes is None or response is None or live.outcome == "refused":
            return
        if response.trailers:
            response.trailers.fields = tuple(
                (name, live.echoes.mask(value)) for name, value in response.trailers.fields
            )
        if not response.stream and response.raw_content:
            with live.own_time():
                coded, response.raw_content = response.raw_content, b""
                raw = decoded_body({"content-encoding": live.coding}, coded)
                response.raw_content = live.echoes.mask(raw)
                if "content-length" in response.headers:
                    response.headers["content-length"] = str(len(raw))
        self.governance.credentials.echoes += live.echoes.seen
        live.echoes.seen = 0


def watch_credentials(metrics: Metrics, credentials: Credentials) -> None:
    """Show how the sources of real keys are doing."""
    for name, text in WATCHED:
        metrics.watch(
            f"penstock_credential_{name}", text, "counter", partial(counted, credentials, name)
        )


def counted(credentials: Credentials, name: str) -> float:
    return float(getattr(credentials, name))


def put(live: LiveCall, flow: http.HTTPFlow, use: Use, fetched: Fetched) -> None:
    """Put the credential into the request. SourceError when it cannot be."""
    request, destination = flow.request, live.call.destination
    host = request.headers.get("host") or request.host_header or destination.host
    body = request.raw_content or b""
    sent = Sent(request.method, host, request.path, request.headers.fields, body)
    fields, path = with_key(use, fetched, sent, destination)
    request.headers.fields = tuple(fields)
    if path != request.path:
        request.path = path


def refuse(live: LiveCall, flow: http.HTTPFlow, rule: str, message: str) -> None:
    """Refuse a call that was let through by the policy."""
    flow.response = response_of(refused(live, rule, message))
