"""A stream whose call may be answered by another target, as long as no byte of an answer left.

An attempt that cannot connect, stalls, breaks off, or brings an answer that says "not now" is
given up, its connection closed, and the request sent again to the next target. What decides
that is the call's ``Attempts`` (put into the flow by an addon); a call without any takes
exactly the way of ``Stream``.
"""

from __future__ import annotations

from typing import Literal, Protocol

from mitmproxy import http
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    GetHttpConnection,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    SendHttp,
)

from penstock.proxy.engine.http_stream import Commands, Stream
from penstock.proxy.engine.problem import BAD_ANSWER, FIRST_BYTE_TIMEOUT
from penstock.proxy.engine.refusal import problem_of
from penstock.proxy.engine.runtime import Runtime

ATTEMPTS = "penstock.attempts"  # flow.metadata: the targets of this call

# take: this is the answer. look: its first event has to be seen. next: ask another target.
Verdict = Literal["take", "look", "next"]


class Attempts(Protocol):
    """The targets of one call, asked one after the other."""

    patience: float | None  # seconds to the first byte of the attempt under way; None: the usual

    def begin(self, flow: http.HTTPFlow) -> None:
        """Make the flow's request the one for the next target."""

    def failed(self, code: str) -> bool:
        """The attempt ended with this problem; True when another one is to begin."""

    def head(self, answer: http.Response) -> Verdict:
        """An answer's head came."""

    def first(self, data: bytes) -> Verdict:
        """More of a stream's beginning came (after "look")."""


class RoutedStream(Stream):
    """One request, its attempts, and the answer of the last of them."""

    def __init__(self, context: Context, stream_id: int, runtime: Runtime) -> None:
        super().__init__(context, stream_id, runtime)
        self.attempts: Attempts | None = None
        self._held_head: ResponseHeaders | None = None
        self._held: list[bytes] = []

    # ------------------------------------------------------------------ asking

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Connect to where the call goes: its first target that can be reached."""
        self.attempts = self.flow.metadata.get(ATTEMPTS)
        if self.attempts is None:
            return (yield from super().make_server_connection())
        return (yield from self._connect(self.attempts))

    def _connect(self, attempts: Attempts) -> layer.CommandGenerator[bool]:
        while True:
            attempts.begin(self.flow)
            self.timed_out, self.head_received = None, False
            self.patience = attempts.patience
            self.runtime.deadlines.start(self)
            request = self.flow.request
            connection, error = yield GetHttpConnection(
                (request.host, request.port), request.scheme == "https", None, "tcp"
            )
            if not error:
                self.context.server = self.flow.server_conn = connection
                return True
            failure = ResponseProtocolError(self.stream_id, error, ErrorCode.CONNECT_FAILED)
            if not self._fails(failure) or self._client_gone():
                yield from super().handle_protocol_error(failure)
                return False

    def _again(self, attempts: Attempts) -> Commands:
        """Send the request to the next target."""
        self.response_body_buf.clear()
        self._held_head, self._held = None, []
        self.flow.response = None
        self.server_state = self.state_wait_for_response_headers
        if not (yield from self._connect(attempts)):
            return
        request = self.flow.request
        content = request.raw_content
        server = self.context.server
        yield SendHttp(RequestHeaders(self.stream_id, request, not content), server)
        if content:
            yield SendHttp(RequestData(self.stream_id, content), server)
        yield SendHttp(RequestEndOfMessage(self.stream_id), server)

    # ------------------------------------------------------------------ giving up on a target

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> Commands:
        """The target failed: ask the next one, if there is one and nothing was said yet."""
        if self.attempts is not None and isinstance(event, ResponseProtocolError):
            waits = self._waits_for_answer() and not self._client_gone()
            if waits and self.client_state == self.state_done and self._fails(event):
                self.runtime.deadlines.stop(self)
                yield from self._again(self.attempts)
                return
        yield from super().handle_protocol_error(event)

    def _expired(self) -> Commands:
        if self.attempts is not None and self._waits_for_answer():
            if self.attempts.failed(FIRST_BYTE_TIMEOUT.code):
                yield from self._cancel_upstream()
                yield from self._again(self.attempts)
                return
            if self.server_state == self.state_look_at_beginning:
                yield from self._refuse(FIRST_BYTE_TIMEOUT, cancel=True)
                return
        yield from super()._expired()

    def _fails(self, event: ResponseProtocolError) -> bool:
        """Tell the attempts; True when another one is to begin."""
        assert self.attempts is not None  # asked of routed calls only
        problem = self.timed_out or problem_of(event) or BAD_ANSWER
        return self.attempts.failed(problem.code)

    def _waits_for_answer(self) -> bool:
        """True while nothing of an answer has left."""
        return self.server_state in (
            self.state_wait_for_response_headers,
            self.state_look_at_beginning,
            self.state_consume_response_body,
        )

    def _client_gone(self) -> bool:
        """True when the client left while the stream was waiting for a connection."""
        return any(isinstance(one, RequestProtocolError) for one in self._paused_event_queue)

    # ------------------------------------------------------------------ judging the answer

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> Commands:
        """Take the answer, look at its beginning first, or ask the next target."""
        attempts = self.attempts
        if attempts is not None:
            verdict = attempts.head(event.response)
            if verdict == "next":
                yield from self._cancel_upstream()
                yield from self._again(attempts)
                return
            if verdict == "look" and not event.end_stream:
                self._held_head = event
                self.server_state = self.state_look_at_beginning
                return
        yield from super().state_wait_for_response_headers(event)

    def state_look_at_beginning(self, event: events.Event) -> Commands:
        """Hold a stream back until its first event shows whether it is an answer."""
        attempts = self.attempts
        assert attempts is not None  # only routed calls get here
        over = isinstance(event, ResponseEndOfMessage)
        verdict: Verdict = "take" if over else "look"
        if isinstance(event, ResponseData):
            self._held.append(event.data)
            verdict = attempts.first(event.data)
        if verdict == "next":
            yield from self._cancel_upstream()
            yield from self._again(attempts)
        elif verdict == "take":
            yield from self._release(event if over else None)

    def _release(self, end: events.Event | None) -> Commands:
        """It is an answer: let it go the usual way from its head on."""
        head, held = self._held_head, self._held
        assert head is not None  # see state_wait_for_response_headers
        self._held_head, self._held = None, []
        yield from super().state_wait_for_response_headers(head)
        for data in held:
            yield from self.server_state(ResponseData(self.stream_id, data))
        if end is not None:
            yield from self.server_state(end)
