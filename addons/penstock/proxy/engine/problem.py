"""What the engine itself refuses or cannot do, and how the client is told: as JSON.

The texts are fixed: they never carry bytes of the call, a library's error text or the
name of the software. A policy's refusals are made elsewhere, in the provider's shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

Page = tuple[list[tuple[str, str]], bytes]
ErrorPage = Callable[[int, str], Page]


@dataclass(slots=True, frozen=True)
class Problem:
    """A refusal of the engine: HTTP status, machine word, sentence."""

    status: int
    code: str
    message: str


BAD_REQUEST = Problem(400, "invalid_request", "The request is not well-formed HTTP.")
BAD_LINES = Problem(400, "invalid_line_ending", "Header lines must end with CR LF.")
FOLDED_HEADER = Problem(400, "folded_header", "Folded header lines are not accepted.")
TRANSFER_CODING = Problem(
    400, "transfer_coding", "A request's body may be chunked; no other transfer coding is accepted."
)
HEAD_TOO_LARGE = Problem(431, "head_too_large", "The request's header section is too large.")
BODY_TOO_LARGE = Problem(413, "body_too_large", "The request's body is too large.")
HOST_HEADER = Problem(400, "host_header", "Exactly one Host header is required.")
NOT_PROXY_FORM = Problem(
    400, "not_a_proxy_request", "This is a forward proxy: use CONNECT or an absolute URL."
)
ABSOLUTE_FORM = Problem(
    403, "absolute_form_in_tunnel", "Inside a tunnel the request target must be a path."
)
MISDIRECTED = Problem(
    421, "misdirected_request", "The tunnel's target, the TLS name and Host must agree."
)
FORBIDDEN = Problem(
    403, "destination_forbidden", "This address cannot be reached through the proxy."
)
NOT_ALLOWED = Problem(403, "destination_denied", "This destination is not allowed.")
CHECK_FAILED = Problem(
    403, "check_failed", "The call was refused because a check could not be completed."
)
UNREACHABLE = Problem(502, "upstream_unreachable", "No connection to the destination.")
UNTRUSTED = Problem(
    502, "upstream_certificate", "The destination's certificate could not be verified."
)
CONNECT_TIMEOUT = Problem(504, "connect_timeout", "The destination did not accept in time.")
FIRST_BYTE_TIMEOUT = Problem(504, "first_byte_timeout", "The destination did not answer in time.")
IDLE_TIMEOUT = Problem(504, "idle_timeout", "The destination stopped in the middle of its answer.")
BAD_ANSWER = Problem(502, "invalid_answer", "The destination's answer is not well-formed HTTP.")
CLOSED = Problem(502, "upstream_closed", "The destination hung up before it answered.")
ANSWER_TOO_LARGE = Problem(502, "answer_too_large", "The destination's answer is too large.")

PROBLEMS: dict[str, Problem] = {
    problem.code: problem for problem in list(globals().values()) if isinstance(problem, Problem)
}


def json_page(status: int, code: str) -> Page:
    """The default error page for ``code`` (a key of PROBLEMS, or any short word)."""
    known = PROBLEMS.get(code)
    message = known.message if known else "The request could not be served."
    kind = "upstream_error" if status >= 500 else "invalid_request_error"
    body = json.dumps({"error": {"message": message, "type": kind, "code": code}}).encode()
    return [("content-type", "application/json")], body
