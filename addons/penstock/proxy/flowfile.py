"""mitmproxy flow files as recorded exchanges, in the schema ``inspect`` reads.

Bodies are taken raw, as they were on the wire, with their content-encoding.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, BinaryIO

from mitmproxy.exceptions import FlowReadException
from mitmproxy.http import HTTPFlow, Message
from mitmproxy.io import FlowReader

# What mitmproxy raises on a file whose bytes are not what they were.
DAMAGED = (FlowReadException, KeyError, TypeError, ValueError, AttributeError, AssertionError)


def flow_lines(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """One recorded exchange per HTTP flow; raises ValueError where the file is broken."""
    try:
        for flow in FlowReader(file).stream():
            if isinstance(flow, HTTPFlow):
                yield _line(flow)
    except DAMAGED as error:
        raise ValueError(f"not a flow file, or a damaged one: {error!r}") from error


def _line(flow: HTTPFlow) -> dict[str, Any]:
    line: dict[str, Any] = {
        "id": flow.id,
        "request": {
            "method": flow.request.method,
            "url": flow.request.url,
            **_message(flow.request),
        },
    }
    if flow.response is not None:
        line["response"] = {"status": flow.response.status_code, **_message(flow.response)}
    return line


def _message(message: Message) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in message.headers.items()}
    body = base64.b64encode(message.raw_content or b"").decode()
    return {"headers": headers, "body": body, "encoding": "base64"}
