"""A mitmproxy flow as the common model sees it: HttpRequest, headers, decoded bodies.

Bodies are decoded of their content coding with a bound; a body that cannot be decoded is
reported, never skipped. Nothing here changes the flow.
"""

from __future__ import annotations

from mitmproxy import http

from penstock.exchange import HttpRequest
from penstock.wire import content_coding

# A compressed body may grow to this many times its size, and to this many bytes: beyond
# either it is a bomb and not a prompt (the largest recorded prompts are below 2 MiB).
DECODED_RATIO = 10
DECODED_BYTES = 64 * 1024 * 1024
# Small bodies compress better than 10:1 without malice (JSON of repeated keys), so the
# ratio counts only from this many decoded bytes on.
RATIO_FREE_BYTES = 1024 * 1024


class UninspectableError(Exception):
    """The body cannot be read: unknown coding, broken data, or a decompression bomb."""


def headers_of(message: http.Message) -> dict[str, str]:
    """Lower-case names; repeated headers joined with ", " (RFC 9110 section 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in message.headers.fields:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def decoded_body(headers: dict[str, str], raw: bytes) -> bytes:
    """The body without its content coding.

    Raises:
        UninspectableError: with a reason that names no content.
    """
    coding = headers.get("content-encoding", "")
    if not coding or coding.strip().lower() == "identity" or not raw:
        return raw
    limit = min(DECODED_BYTES, max(RATIO_FREE_BYTES, DECODED_RATIO * len(raw)))
    try:
        return content_coding.decode(raw, coding, limit_bytes=limit)
    except content_coding.ContentCodingError as error:
        raise UninspectableError(str(error)) from error


def request_of(flow: http.HTTPFlow, headers: dict[str, str], host: str) -> HttpRequest:
    """The request of a flow; ``host`` is the name the caller meant (SNI where there is one).

    Raises:
        UninspectableError: see decoded_body.
    """
    made = request_head_of(flow, headers, host)
    made.body = decoded_body(headers, flow.request.raw_content or b"")
    return made


def request_head_of(flow: http.HTTPFlow, headers: dict[str, str], host: str) -> HttpRequest:
    """The request of a flow without its body."""
    request = flow.request
    return HttpRequest(
        method=request.method,
        scheme=request.scheme,
        host=host,
        port=request.port,
        path=request.path,
        headers=headers,
    )


def called_host(flow: http.HTTPFlow) -> str:
    """The name the caller meant: SNI in a tunnel or redirect, else the request's own host.

    The guard has already made sure that CONNECT target, SNI and Host agree.
    """
    client = flow.client_conn
    if client.tls_established and client.sni:
        return client.sni
    return flow.request.pretty_host
