"""From the core's protocol errors to the problem a client is told.

The core reports errors as events with a code and a text made for a developer's log. The
text is only compared with our own constants here, never shown.
"""

from __future__ import annotations

from mitmproxy.proxy.layers.http import ErrorCode, ResponseProtocolError

from penstock.proxy.engine.problem import (
    ANSWER_TOO_LARGE,
    BAD_ANSWER,
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CLOSED,
    CONNECT_TIMEOUT,
    FORBIDDEN,
    HOST_HEADER,
    UNREACHABLE,
    UNTRUSTED,
    Problem,
)

# What the dialler reports instead of an operating system error.
CLOSED_ADDRESS = "address closed"
TIMED_OUT = "connection timed out"
# What our HTTP/1 client reports when the upstream hangs up before its answer's head.
CLOSED_EARLY = "the destination closed the connection"
# The same of an HTTP/2 upstream, in the core's words: RST_STREAM and GOAWAY.
CLOSED_BEGINNINGS = (CLOSED_EARLY, "stream reset by client", "HTTP/2 connection closed")


class Refused(ResponseProtocolError):
    """A refusal of the engine, on its way to the client."""

    def __init__(self, stream_id: int, problem: Problem) -> None:
        super().__init__(stream_id, problem.message, ErrorCode.GENERIC_CLIENT_ERROR)
        self.problem = problem


def problem_of(event: ResponseProtocolError) -> Problem | None:
    """What to tell the client; None means that there is nothing to say: close."""
    if isinstance(event, Refused):
        return event.problem
    match event.code:
        case ErrorCode.CONNECT_FAILED:
            return _connect_problem(event.message)
        case ErrorCode.REQUEST_TOO_LARGE:
            return BODY_TOO_LARGE
        case ErrorCode.RESPONSE_TOO_LARGE:
            return ANSWER_TOO_LARGE
        case ErrorCode.DESTINATION_UNKNOWN:
            return HOST_HEADER
        case ErrorCode.GENERIC_SERVER_ERROR | ErrorCode.RESPONSE_VALIDATION_FAILED:
            return CLOSED if event.message.startswith(CLOSED_BEGINNINGS) else BAD_ANSWER
        case _:
            return BAD_REQUEST if event.code.http_status_code() else None


def _connect_problem(message: str) -> Problem:
    if CLOSED_ADDRESS in message:
        return FORBIDDEN
    if TIMED_OUT in message:
        return CONNECT_TIMEOUT
    if "ertificate verify failed" in message:
        return UNTRUSTED
    return UNREACHABLE
