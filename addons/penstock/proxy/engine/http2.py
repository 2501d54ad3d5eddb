"""HTTP/2, where switched on: the stock classes with our error pages, and calls that move on."""

from __future__ import annotations

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    Http2Client,
    Http2Server,
    RequestProtocolError,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._base import ReceiveHttp

from penstock.proxy.engine.problem import Problem
from penstock.proxy.engine.refusal import problem_of
from penstock.proxy.engine.runtime import Runtime


class Server(Http2Server):
    """Speaks to the client."""

    def __init__(self, context: Context, runtime: Runtime) -> None:
        super().__init__(context)
        self.runtime = runtime

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, ResponseProtocolError):
            problem = problem_of(event)
            if problem is not None and self._may_answer(event.stream_id):
                yield from self._send_page(event.stream_id, problem)
                return
        yield from super()._handle_event(event)

    def _may_answer(self, stream_id: int) -> bool:
        if self.is_closed(stream_id) or not self.is_open_for_us(stream_id):
            return False
        return not self.h2_conn.streams[stream_id].state_machine.headers_sent

    def _send_page(self, stream_id: int, problem: Problem) -> layer.CommandGenerator[None]:
        headers, body = self.runtime.callbacks.error_page(problem.status, problem.code)
        fields = [(b":status", str(problem.status).encode())]
        fields += [(name.lower().encode(), value.encode()) for name, value in headers]
        fields.append((b"content-length", str(len(body)).encode()))
        self.h2_conn.send_headers(stream_id, fields)
        self.h2_conn.send_data(stream_id, body, end_stream=True)
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())


class Client(Http2Client):
    """Speaks to an upstream. What was given up is over at once.

    The stock class lets an answer go on that had come with its head, and would take the call's
    next attempt on the same connection for the one that is reset.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.over: set[int] = set()  # streams of attempts given up; as many as were

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, RequestProtocolError):
            yield from super()._handle_event(event)
            return
        caller_stream = event.stream_id  # changed by the stock class
        ours = self.our_stream_id.get(caller_stream)
        yield from super()._handle_event(event)
        if ours is not None:
            self.over.add(ours)
            self.our_stream_id.pop(caller_stream, None)

    def _handle_event2(self, event: events.Event) -> layer.CommandGenerator[None]:
        for command in super()._handle_event2(event):
            if isinstance(command, ReceiveHttp) and command.event.stream_id in self.over:
                continue
            yield command
