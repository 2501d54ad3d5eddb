"""One HTTP exchange: the stock state machine with our refusals and our streaming.

Differences from the stock stream: requests are checked by the guard before anything else;
limits are per direction and answer with JSON; an addon may replace an answer in
``responseheaders`` before its body is read; a streamed answer is driven through one
StreamTransform that can end it early and well-formed; waiting for the upstream has
deadlines; a stopped call cancels its upstream at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from mitmproxy import flow as flows
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
    SendHttp,
)

from penstock.proxy.aside import worked
from penstock.proxy.engine import fail_closed
from penstock.proxy.engine.deadlines import Expired, Said
from penstock.proxy.engine.fail_closed import REFUSED
from penstock.proxy.engine.problem import (
    ANSWER_TOO_LARGE,
    BAD_ANSWER,
    BODY_TOO_LARGE,
    CHECK_FAILED,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    Problem,
)
from penstock.proxy.engine.refusal import Refused, problem_of
from penstock.proxy.engine.request_head import request_problem
from penstock.proxy.engine.runtime import Runtime
from penstock.proxy.engine.stream import Holding, StreamTransform
from penstock.proxy.engine.tunnelled import Tunnelled

LEFT = "penstock.left"  # flow.metadata: the client reset the stream, or closed
Commands = layer.CommandGenerator[None]


class Stream(Tunnelled):
    """One request and its answer."""

    patience: float | None = None  # seconds to the first byte, where not the engine's own

    def __init__(self, context: Context, stream_id: int, runtime: Runtime) -> None:
        super().__init__(context, stream_id)
        self.runtime = runtime
        self.waiting_since = 0.0
        self.head_received = False
        self.timed_out: Problem | None = None
        self._transform: StreamTransform | None = None
        self._declared: int | None = None  # content-length on the wire, if one was sent
        self._sent = 0

    @property
    def client_id(self) -> str:
        """The id of the client connection."""
        return self.context.client.id

    def handle_event(self, event: events.Event) -> Commands:
        """Take an event; while a check waits, the stock way only queues it."""
        if isinstance(event, RequestProtocolError) and self._paused:
            self.flow.metadata[LEFT] = True
            self.runtime.callbacks.left(self.flow)
        return super().handle_event(event)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, Said):
            work = self._say(event.data)
        elif isinstance(event, Expired):
            work = self._expired()
        else:
            work = super()._handle_event(event)
        reply = None
        while True:
            try:
                command = work.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(command, commands.StartHook) and self._run_here(command):
                continue
            reply = yield command

    def _run_here(self, hook: commands.StartHook) -> bool:
        """Run a hook here and now; False when it has to go the stock way.

        That way, up through every layer and back down with a completion event, costs more
        than most handlers. What is left of an asynchronous handler travels with the hook.
        """
        if hook.blocking is not True:
            return False  # of a layer below, which waits for its completion
        if isinstance(hook, HttpResponseHook):
            # What follows it can begin the next exchange, and the connection this one came
            # over must have finished first: the stock way is what makes it finish.
            return False
        # HTTP hooks are refused by an answer: nothing to close.
        rest = self.runtime.run_hook(hook, lambda: None)
        if rest is not None:
            vars(hook)["rest"] = rest
        return rest is None

    # ------------------------------------------------------------------ refusing

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse malformed messages, and requests whose names do not agree."""
        if request:
            problem = request_problem(self.flow.request, self.mode, self.context, self.runtime)
        else:
            problem = self._answer_problem()
        if request and self.flow.request.method != "CONNECT":
            self.runtime.exchanges.add(self)
        if problem is None:
            return False
        if not request:
            yield commands.CloseConnection(self.flow.server_conn)
        yield from self._refuse(problem, unseen=request)
        return True

    def _answer_problem(self) -> Problem | None:
        assert self.flow.response
        try:
            validate_headers(self.flow.response)
        except ValueError:
            return BAD_ANSWER
        return None

    def _refuse(self, problem: Problem, *, unseen: bool = False, cancel: bool = False) -> Commands:
        """Answer with ``problem`` and end the exchange; ``unseen``: addons do not know it yet."""
        self.runtime.deadlines.stop(self)
        self.flow.error = flows.Error(problem.message)
        self.flow.metadata[REFUSED] = problem.code
        if unseen:
            yield HttpRequestHeadersHook(self.flow)
        yield HttpErrorHook(self.flow)
        if cancel:
            yield from self._cancel_upstream()
        yield SendHttp(Refused(self.stream_id, problem), self.context.client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored

    def _cancel_upstream(self) -> Commands:
        yield SendHttp(
            RequestProtocolError(self.stream_id, "cancelled", ErrorCode.CANCEL),
            self.context.server,
        )

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse a body that is, or says it will be, larger than its limit."""
        limits = self.runtime.settings.limits
        buffered = self.request_body_buf if request else self.response_body_buf
        size = len(buffered)
        declared = not buffered
        if declared:
            try:
                answer = None if request else self.flow.response
                size = expected_http_body_size(self.flow.request, answer) or 0
            except ValueError:
                size = 0
        if size <= (limits.request_body_bytes if request else limits.answer_body_bytes):
            return False
        buffered.clear()
        if request:
            yield from self._refuse(BODY_TOO_LARGE, unseen=declared)
        else:
            yield from self._refuse(ANSWER_TOO_LARGE, cancel=True)
        return True

    # ------------------------------------------------------------------ upstream and deadlines

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Get an upstream connection; from here on the exchange has a deadline."""
        self.runtime.deadlines.start(self)
        return (yield from super().make_server_connection())

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> Commands:
        """The client went away, or the upstream failed."""
        self.runtime.deadlines.stop(self)
        if self.timed_out is not None and isinstance(event, ResponseProtocolError):
            event = Refused(self.stream_id, self.timed_out)
        if isinstance(event, ResponseProtocolError) and not self._begun():
            problem = problem_of(event)
            if problem is not None:
                self.flow.metadata[REFUSED] = problem.code  # what the client is about to be told
        if isinstance(event, ResponseProtocolError) and isinstance(self._transform, Holding):
            gone = self.client_state == self.state_errored
            broken = partial(fail_closed.broken_off, self._transform)
            outcome = yield from worked(self._transform, broken)
            rest = fail_closed.last(self.runtime, self.flow, outcome)
            yield from self._send_chunks([] if gone else rest)
        yield from super().handle_protocol_error(event)

    def _begun(self) -> bool:
        """True when a part of the answer has left, so that nothing else can be said."""
        return bool(self.server_state == self.state_stream_response_body)

    def _expired(self) -> Commands:
        if self._begun():
            # Bytes have left: cut, so that the client does not take a torso for the whole.
            yield from self._cancel_upstream()
            yield from self.handle_protocol_error(
                ResponseProtocolError(
                    self.stream_id, IDLE_TIMEOUT.message, ErrorCode.GENERIC_SERVER_ERROR
                )
            )
        elif self.server_state == self.state_consume_response_body:
            yield from self._refuse(IDLE_TIMEOUT, cancel=True)
        elif self.server_state == self.state_wait_for_response_headers:
            yield from self._refuse(FIRST_BYTE_TIMEOUT, cancel=True)

    # ------------------------------------------------------------------ the answer

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> Commands:
        """The answer's head: judge it, then stream, buffer or replace the answer."""
        self.runtime.deadlines.start(self)
        self.head_received = True
        answer = event.response
        self.flow.response = answer
        if (yield from self.check_invalid(False)):
            return
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)):
            return
        if self.flow.response is not answer:
            yield from self._cancel_upstream()
            yield from self._finish(already_streamed=False)
        elif answer.stream and not event.end_stream:
            yield from self.start_response_stream()
        elif event.end_stream or not (yield from self.check_body_size(False)):
            answer.stream = False
            self.server_state = self.state_consume_response_body

    def start_response_stream(self) -> Commands:
        """Send the head and hand the body to the transform."""
        answer = self.flow.response
        assert answer
        wanted: Any = answer.stream
        if isinstance(wanted, StreamTransform):
            self._transform = wanted
        elif wanted is not True:
            # Only a programming error gets here; an unknown object must not mean "unchecked".
            yield from self._refuse(CHECK_FAILED, cancel=True)
            return
        length = answer.headers.get("content-length")
        if length is not None and self._transform is not None:
            if self._transform.changes_length:
                del answer.headers["content-length"]
                if answer.http_version == "HTTP/1.1":
                    answer.headers["transfer-encoding"] = "chunked"
            else:
                self._declared = int(length)
        yield SendHttp(
            ResponseHeaders(self.stream_id, answer, end_stream=False), self.context.client
        )
        self.server_state = self.state_stream_response_body

    def state_stream_response_body(self, event: events.Event) -> Commands:
        """Pass one piece of the answer through the transform."""
        if isinstance(event, ResponseTrailers):
            assert self.flow.response
            self.flow.response.trailers = event.trailers
            return
        chunk = event.data if isinstance(event, ResponseData) else None
        if self._transform is None:
            step = fail_closed.Step([chunk] if chunk else [])
        else:
            feed = partial(fail_closed.fed, self._transform, chunk)
            outcome = yield from worked(self._transform, feed)
            step = fail_closed.stepped(self.runtime, self._transform, self.flow, chunk, outcome)
        yield from self._send_chunks(step.chunks)
        if chunk is not None and not step.over:
            self.runtime.deadlines.start(self)
            return
        if chunk is not None:
            yield from self._cancel_upstream()
        if step.cut or (self._declared is not None and self._declared != self._sent):
            yield from self._cut()
        else:
            yield from self._finish(already_streamed=True)

    def _say(self, data: bytes) -> Commands:
        """Put an event of ours between those of a running stream."""
        if self._begun() and self._declared is None:
            yield from self._send_chunks([data])

    def _send_chunks(self, chunks: list[bytes]) -> Commands:
        for chunk in chunks:
            # Never write past a declared length: the rest would be read as a next answer.
            room = len(chunk) if self._declared is None else max(self._declared - self._sent, 0)
            self._sent += len(chunk)
            if piece := chunk[:room]:
                yield SendHttp(ResponseData(self.stream_id, piece), self.context.client)

    def _finish(self, *, already_streamed: bool) -> Commands:
        self.runtime.deadlines.stop(self)
        yield from self.send_response(already_streamed=already_streamed)
        if self.server_state == self.state_done:
            # The upstream may still be delivering; nothing of it is wanted.
            self.server_state = self.state_errored

    def _cut(self) -> Commands:
        """End the answer so that the client sees that it is incomplete."""
        self.runtime.deadlines.stop(self)
        self.flow.error = flows.Error(CHECK_FAILED.message)
        self.flow.metadata[REFUSED] = CHECK_FAILED.code
        yield HttpErrorHook(self.flow)
        yield SendHttp(
            ResponseProtocolError(self.stream_id, "cut", ErrorCode.KILL), self.context.client
        )
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored

    def state_consume_response_body(self, event: events.Event) -> Commands:
        """Buffer the answer."""
        if isinstance(event, ResponseData):
            self.runtime.deadlines.start(self)
        elif isinstance(event, ResponseEndOfMessage):
            self.runtime.deadlines.stop(self)
        yield from super().state_consume_response_body(event)
