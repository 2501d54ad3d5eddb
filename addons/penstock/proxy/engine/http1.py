"""HTTP/1.1 on both sides, with the limits and refusals the stock classes lack.

Bounded heads (431, 502) and bounded waiting input; header lines must end with CR LF and
may not be folded; trailers are read and dropped instead of hanging the call (RFC 9110
section 6.5.1 lets an intermediary discard them, and nothing reads them, so they would be
a way past every check); error pages are ours. Parsing itself stays the stock code's.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    Http1Client,
    Http1Server,
    ReceiveHttp,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._http1 import Http1Connection, make_body_reader

from penstock.proxy.engine.problem import (
    BAD_LINES,
    BAD_REQUEST,
    FOLDED_HEADER,
    HEAD_TOO_LARGE,
    Problem,
)
from penstock.proxy.engine.refusal import CLOSED_EARLY, problem_of
from penstock.proxy.engine.runtime import Runtime

# A client that is told "too large" is still sending. Reading on for a while lets it see the
# answer instead of a reset connection.
LINGER_BYTES = 64 * 1024 * 1024
# Empty lines before a request line; RFC 9112 section 2.2 asks to ignore at least one.
EMPTY_LINES_MAX = 4
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")  # what an upstream may answer in
# These authenticate a connection, not a request (RFC 4559 section 5).
BINDING_SCHEMES = ("negotiate", "ntlm")
# RFC 9110 section 11.7.2; Proxy-Connection is what old clients send instead of Connection.
PROXY_HEADERS = ("proxy-authorization", "proxy-connection")


class HeadProblem(ValueError):
    """A head that is refused before it is parsed."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def take_head(buffer: ReceiveBuffer, limit: int, *, strict: bool) -> list[bytes] | None:
    """Take a complete head's lines off ``buffer``; None while it is incomplete.

    ``strict`` demands CR LF line ends, no NUL and no folded lines (RFC 9112 section 2.2
    and 5.2). Raises HeadProblem.
    """
    for _ in range(EMPTY_LINES_MAX):
        before = bytes(buffer)
        lines = buffer.maybe_extract_lines()
        if lines:
            break
        if lines is None:
            if len(before) > limit:
                raise HeadProblem(HEAD_TOO_LARGE)
            return None
    else:
        raise HeadProblem(BAD_REQUEST)
    head = before[: len(before) - len(buffer)]
    if len(head) > limit:
        raise HeadProblem(HEAD_TOO_LARGE)
    if strict:
        ends = head.count(b"\r\n")
        if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
            raise HeadProblem(BAD_LINES)
        if any(line.startswith((b" ", b"\t")) for line in lines[1:]):
            raise HeadProblem(FOLDED_HEADER)
    return [bytes(line) for line in lines]


class _Reading(Http1Connection):
    """Reading bodies, shared by both sides."""

    runtime: Runtime
    gave_up = False  # an error page was sent while the peer is still sending

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Like the stock method; trailers end the message, and unread framing is bounded."""
        assert self.stream_id is not None
        while not self.gave_up:
            try:
                if isinstance(event, events.DataReceived):
                    part = self.body_reader(self.buf)
                else:
                    part = self.body_reader.read_eof()
                # Data is taken off at once; what stays is a chunk header or a trailer section.
                if part is None and len(self.buf) > self.runtime.settings.limits.head_bytes:
                    raise h11.RemoteProtocolError("chunk framing too large")
            except h11.ProtocolError:
                yield commands.CloseConnection(self.conn)
                yield ReceiveHttp(
                    self.ReceiveProtocolError(
                        self.stream_id,
                        "the message body is incomplete or badly framed",
                        code=self.ReceiveProtocolError.code,
                    )
                )
                return
            if part is None:
                return
            if isinstance(part, h11.Data):
                yield ReceiveHttp(self.ReceiveData(self.stream_id, bytes(part.data)))
            else:
                yield from self._message_over()
                return

    def _message_over(self) -> layer.CommandGenerator[None]:
        assert self.request
        assert self.stream_id is not None
        if self.request.data.method.upper() != b"CONNECT":
            yield ReceiveHttp(self.ReceiveEndOfMessage(self.stream_id))
        is_request = isinstance(self, Http1Server)
        yield from self.mark_done(request=is_request, response=not is_request)


class Server(_Reading, Http1Server):
    """Speaks to the client."""

    def __init__(self, context: Context, runtime: Runtime) -> None:
        super().__init__(context)
        self.runtime = runtime
        self._lingered = 0

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Put an event on the wire."""
        if isinstance(event, ResponseData) and self._asked_for_head():
            return  # a refusal has a body, the answer to HEAD has none (RFC 9110 section 9.3.2)
        if isinstance(event, ResponseProtocolError):
            yield from self._send_problem(event)
        elif isinstance(event, ResponseTrailers):
            return
        else:
            if isinstance(event, ResponseHeaders) and self.runtime.draining:
                self._announce_the_end(event.response)
            yield from super().send(event)

    @staticmethod
    def _announce_the_end(answer: http.Response) -> None:
        if answer.status_code != 101:  # an upgrade says something else in this header
            answer.headers["connection"] = "close"

    def _send_problem(self, event: ResponseProtocolError) -> layer.CommandGenerator[None]:
        if not self.conn.state & ConnectionState.CAN_WRITE:
            return
        problem = problem_of(event)
        if self.response or problem is None:
            yield commands.CloseConnection(self.conn)
        else:
            yield from self._send_page(problem)

    def _send_page(self, problem: Problem) -> layer.CommandGenerator[None]:
        headers, body = self.runtime.callbacks.error_page(problem.status, problem.code)
        page = http.Response.make(problem.status, body)
        for name, value in headers:
            page.headers[name] = value
        if self.request is not None and self.request_done and problem.status >= 500:
            # Not the client's fault, and nothing is left unread: it may use its connection again.
            self.response = page
            yield commands.SendData(self.conn, self._assembled(page))
            yield from self.mark_done(response=True)
            return
        page.headers["connection"] = "close"
        yield commands.SendData(self.conn, self._assembled(page))
        yield commands.CloseTcpConnection(self.conn, half_close=True)
        self.gave_up = True
        self.state = self.linger

    def _asked_for_head(self) -> bool:
        return self.request is not None and self.request.data.method.upper() == b"HEAD"

    def _assembled(self, page: http.Response) -> bytes:
        made: bytes = http1.assemble_response(page)
        return made.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if self._asked_for_head() else made

    def linger(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Throw away what a refused client still sends, up to a limit."""
        if isinstance(event, events.DataReceived):
            self._lingered += len(event.data)
            self.buf = ReceiveBuffer()
            if self._lingered > LINGER_BYTES:
                yield commands.CloseConnection(self.conn)
        elif isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(self.conn)

    def read_headers(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read a request head."""
        if isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(self.conn)
            return
        try:
            head = take_head(self.buf, self.runtime.settings.limits.head_bytes, strict=True)
        except HeadProblem as error:
            yield from self._send_page(error.problem)
            return
        if head is None:
            return
        try:
            self.request = http1.read_request_head(head)
            size = http1.expected_http_body_size(self.request)
        except ValueError:
            self.request = None
            yield from self._send_page(BAD_REQUEST)
            return
        yield ReceiveHttp(RequestHeaders(self.stream_id, self.request, size == 0))
        if self.gave_up:
            return
        self.body_reader = make_body_reader(size)
        self.state = self.read_body
        yield from self.state(event)

    def wait(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Wait for the answer; a client may send its next request, not an endless one."""
        if (
            isinstance(event, events.DataReceived)
            and len(self.buf) > self.runtime.settings.limits.head_bytes
        ):
            yield commands.CloseConnection(self.conn)
            assert self.stream_id
            yield ReceiveHttp(
                RequestProtocolError(
                    self.stream_id, "too much pipelined input", ErrorCode.CLIENT_DISCONNECTED
                )
            )
            return
        yield from super().wait(event)


def _without_proxy_headers(event: RequestHeaders) -> RequestHeaders:
    """What a client says to its proxy, credentials above all, is not the upstream's business."""
    headers = event.request.headers
    if not any(name in headers for name in PROXY_HEADERS):
        return event
    request = event.request.copy()
    for name in PROXY_HEADERS:
        request.headers.pop(name, None)
    return RequestHeaders(event.stream_id, request, event.end_stream)


def _framed(event: RequestHeaders) -> RequestHeaders:
    """A body that came over HTTP/2 needs no length there; here it would be the next request."""
    headers = event.request.headers
    if event.end_stream or "content-length" in headers or "transfer-encoding" in headers:
        return event
    request = event.request.copy()
    body = request.raw_content
    if body is None:  # on its way
        request.headers["transfer-encoding"] = "chunked"
    else:
        request.headers["content-length"] = str(len(body))
    return RequestHeaders(event.stream_id, request, event.end_stream)


class Client(_Reading, Http1Client):
    """Speaks to the upstream."""

    bound = False  # it was authenticated as a whole: it is its caller's alone

    def __init__(self, context: Context, runtime: Runtime) -> None:
        super().__init__(context)
        self.runtime = runtime

    @property
    def may_be_kept(self) -> bool:
        """True when it is idle and clean, so that another client may go on with it."""
        idle = self.request is None and self.stream_id is None and self.state == self.read_headers
        return idle and not self.bound and not self.gave_up and not self.buf

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Put an event on the wire."""
        if isinstance(event, RequestTrailers):
            return
        if isinstance(event, RequestProtocolError):
            self.gave_up = True
        elif isinstance(event, RequestHeaders):
            event = _framed(_without_proxy_headers(event))
            scheme = event.request.headers.get("authorization", "").partition(" ")[0].lower()
            self.bound = self.bound or scheme in BINDING_SCHEMES
        yield from super().send(event)

    def read_headers(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Read an answer's head; informational answers are taken off and forgotten."""
        if isinstance(event, events.ConnectionClosed):
            yield from self._closed_before_head()
            return
        if self.request is None or self.stream_id is None:
            yield commands.CloseConnection(self.conn)  # nobody asked
            return
        try:
            head = take_head(self.buf, self.runtime.settings.limits.head_bytes, strict=False)
            if head is None:
                return
            answer = http1.read_response_head(head)
            if answer.data.http_version not in VERSIONS:
                raise ValueError("not a version we speak")
            size = http1.expected_http_body_size(self.request, answer)
        except ValueError:
            yield commands.CloseConnection(self.conn)
            yield ReceiveHttp(self._server_error("the answer's head is not well-formed"))
            return
        if 100 <= answer.status_code < 200 and answer.status_code != 101:
            yield from self.read_headers(event)
            return
        self.response = answer
        yield ReceiveHttp(ResponseHeaders(self.stream_id, answer, size == 0))
        self.body_reader = make_body_reader(size)
        self.state = self.read_body
        yield from self.state(event)

    def mark_done(
        self, *, request: bool = False, response: bool = False
    ) -> layer.CommandGenerator[None]:
        """One direction is complete; when both are, the connection is idle."""
        yield from super().mark_done(request=request, response=response)
        if self.request is None:
            self.runtime.idle_since[self.conn] = monotonic()

    def _closed_before_head(self) -> layer.CommandGenerator[None]:
        if self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.CloseConnection(self.conn)
        if self.stream_id:
            yield ReceiveHttp(self._server_error(CLOSED_EARLY))

    def _server_error(self, message: str) -> Any:
        assert self.stream_id is not None
        return ResponseProtocolError(self.stream_id, message, ErrorCode.GENERIC_SERVER_ERROR)
