"""Recorded exchanges as Calls: what ``penstock replay`` and policy tests decide about.

A line is a JSON object with ``request`` {method, url, headers, body, encoding}; ``encoding``
is ``text`` or ``base64``. The call is read through the same wire room as a live one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from penstock import wire
from penstock.destinations import by_shape, identify
from penstock.exchange import Caller, HttpRequest
from penstock.policy.call import Call
from penstock.wire import content_coding

# A recorded body decodes to this at most, as in the proxy.
DECODED_BYTES_MAX = 64 * 1024 * 1024

PORTS = {"http": 80, "https": 443}


def request_of(described: Mapping[str, Any]) -> HttpRequest:
    """The request of a recorded line whose body can be read.

    Raises:
        ValueError: it is not in the form above, or its body cannot be decoded.
    """
    request, problem = read_request(described)
    if problem is not None:
        raise ValueError(f"the body cannot be decoded: {problem}")
    return request


def read_request(described: Mapping[str, Any]) -> tuple[HttpRequest, str | None]:
    """The request of a recorded line, and why its body cannot be decoded: then it has none.

    Raises:
        ValueError: it is not in the form above.
    """
    if not isinstance(described, Mapping) or not isinstance(
        described.get("headers") or {}, Mapping
    ):
        raise ValueError("a request is a mapping of method, url, headers and body")
    url = urlsplit(str(described.get("url", "")))
    if url.scheme not in PORTS or not url.hostname:
        raise ValueError("'url' must be an http or https URL")
    headers = {str(n).lower(): str(v) for n, v in (described.get("headers") or {}).items()}
    body, problem = body_of(described), None
    if coding := headers.get("content-encoding"):
        try:
            body = content_coding.decode(body, coding, limit_bytes=DECODED_BYTES_MAX)
        except content_coding.ContentCodingError as error:
            body, problem = b"", str(error)
    request = HttpRequest(
        method=str(described.get("method", "POST")),
        scheme=url.scheme,
        host=url.hostname,
        port=url.port or PORTS[url.scheme],
        path=(url.path or "/") + (f"?{url.query}" if url.query else ""),
        headers=headers,
        body=body,
    )
    return request, problem


def body_of(described: Mapping[str, Any]) -> bytes:
    """The body's bytes; ValueError when its base64 is broken."""
    body = described.get("body") or ""
    if described.get("encoding") != "base64":
        return str(body).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(str(body), validate=True)
    except binascii.Error as error:
        raise ValueError("the body is not base64") from error


def call_of(request: HttpRequest, caller: Caller, call_id: str) -> Call:
    """Identify and parse: the same steps as on the wire."""
    destination = identify(request.host, request.port, request.path)
    exchange = wire.read_request(request, destination)
    if not destination.known:
        destination = by_shape(destination, exchange.api)
    return Call(
        exchange=exchange,
        caller=caller,
        destination=destination,
        id=call_id,
        body_bytes=len(request.body),
        method=request.method,
        scheme=request.scheme,
        path=request.path.partition("?")[0],
    )
