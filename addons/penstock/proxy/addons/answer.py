"""Addon Answer: read what comes back, decide again, change only what a rule changes.

A streamed answer gets one transform, chunk by chunk; a plain one is read whole. An answer
that nothing may change passes through with its bytes untouched and is read on the side.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from functools import partial
from typing import Any, cast

from mitmproxy import http

from penstock.exchange import Answer as AnswerModel
from penstock.exchange import HttpAnswer
from penstock.proxy.addons.govern import response_of
from penstock.proxy.answer_headers import judge_headers, refuse
from penstock.proxy.answer_stream import AnswerTransform
from penstock.proxy.aside import Work
from penstock.proxy.call import LiveCall, call_of
from penstock.proxy.capture import headers_of
from penstock.proxy.engine.fail_closed import REFUSED
from penstock.proxy.engine.stream import StreamTransform
from penstock.proxy.governance import Governance
from penstock.proxy.judge import Judged, judge
from penstock.proxy.limit_headers import add_limit_headers
from penstock.proxy.offload import OFFLOADED_BYTES, offload
from penstock.proxy.translate import TranslatedStream, translate_head, translate_whole
from penstock.wire.family import Framing

# Content types that are read whole when they are not a stream; others (audio, images, files)
# pass as they come and only their size is known.
TEXT_TYPES = ("json", "text/", "xml", "x-www-form-urlencoded")


class Answer:
    """Judges what the other side says."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance

    async def work_aside(self, work: Work[Any]) -> None:
        """Feed a stream whose detectors are slow, in a worker thread."""
        work.outcome = await offload(work.run)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        live = call_of(flow)
        response = flow.response
        assert response is not None  # the hook's promise
        if REFUSED in flow.metadata or (live is not None and live.outcome == "refused"):
            return  # our own words
        if live is None:
            response.stream = True  # not ours: as it comes, never held
            return
        with live.own_time():
            coding = response.headers.get("content-encoding", "")
            whole = live.translation is not None and not translate_head(live.translation, response)
            live.status = response.status_code
            live.first_byte = time.perf_counter()
            exchange = live.call.exchange
            exchange.answer = AnswerModel(status=response.status_code)
            if refusal := judge_headers(self.governance, live, response):
                refuse(live, flow, refusal)
                return
            headers = headers_of(response)
            add_limit_headers(
                response.headers, self.governance.quotas, live.decision.reservations, time.time()
            )
            content_type = headers.get("content-type", "").lower()
            framing = live.family.framing(exchange, HttpAnswer(live.status, headers), b"")
            if whole:
                return  # translated when all of it is there
            if framing != "none" or (exchange.stream and "content-length" not in headers):
                live.streamed = framing != "none"
                transform = AnswerTransform(self.governance, live, headers, framing)
                if transform.messages is not None:
                    opened = partial(self.governance.old_streams.opened, live, flow)
                    transform.messages.on_endpoint = opened
                drive(live, response, transform, coding)
                if live.may_change_answer:
                    response.headers.pop("content-encoding", None)  # it leaves decoded
            elif content_type and not any(kind in content_type for kind in TEXT_TYPES):
                # A file may be sent as bytes of any kind and be text all the same.
                looks = live.may_change_answer and "octet-stream" in content_type
                shown: Framing | None = "none" if looks else None
                drive(live, response, AnswerTransform(self.governance, live, headers, shown))
                if looks:
                    response.headers.pop("content-encoding", None)

    def response(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        live = call_of(flow)
        if live is None or live.outcome == "refused" or flow.response is None:
            return None
        if flow.response.stream or live.call.exchange.answer is None:
            return None
        raw = flow.response.raw_content or b""
        aside = len(raw) > OFFLOADED_BYTES
        if live.translation is not None and not aside:
            with live.own_time():
                raw = translate_whole(live, live.translation, flow.response, raw)
        live.answer_bytes = len(raw)
        if aside or self.governance.reads_answers_slowly:
            return self.judge_aside(live, flow, flow.response, raw)
        with live.own_time():
            self.apply(self.judged(live, flow.response, raw), flow, flow.response)
        return None

    async def judge_aside(
        self, live: LiveCall, flow: http.HTTPFlow, response: http.Response, raw: bytes
    ) -> None:
        with live.own_time():
            if live.translation is not None:
                raw = await offload(translate_whole, live, live.translation, response, raw)
            self.apply(await offload(self.judged, live, response, raw), flow, response)

    def judged(self, live: LiveCall, response: http.Response, raw: bytes) -> Judged:
        """Read a buffered answer and decide about it."""
        headers = headers_of(response)
        return judge(self.governance, live, response.status_code, headers, raw)

    def apply(self, judged: Judged, flow: http.HTTPFlow, response: http.Response) -> None:
        if judged.refusal is not None:
            flow.response = response_of(judged.refusal)
        elif judged.body is not None:
            replace_body(response, judged.body)


def drive(
    live: LiveCall, response: http.Response, transform: StreamTransform, coding: str = ""
) -> None:
    """Let the engine drive ``transform``; mitmproxy's own type knows callables only.

    ``coding`` is what the bytes of an answer that is translated come in.
    """
    if live.translation is not None:
        transform = TranslatedStream(live.translation, coding, transform)
    if live.echoes is not None:
        from penstock.proxy.echo_guard import EchoGuard

        transform = EchoGuard(live.echoes, live.coding, transform)
    response.stream = cast(Any, transform)


def replace_body(response: http.Response, body: bytes) -> None:
    """Put an edited, uncoded body in place of the one that came."""
    response.headers.pop("content-encoding", None)
    response.raw_content = body
    if "content-length" in response.headers:
        response.headers["content-length"] = str(len(body))
