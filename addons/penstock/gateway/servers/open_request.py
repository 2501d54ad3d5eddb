"""Requests the SDK's client sends as they are, and answers of a shape it does not know.

The SDK checks each answer against the protocol version's own results. A task in place of a result
(the session era's experiment, the newer era's extension) is none of them, so such a request is
given to the SDK's dispatcher after the SDK has stamped it. ``tests/mcp_serve/test_tasks.py`` fails
when the SDK changes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.client.client import Client
from mcp.shared.inbound import MCP_NAME_HEADER, encode_header_value
from mcp.types import CLIENT_CAPABILITIES_META_KEY, Request

from penstock.wire.loose import as_dict

TASKS_EXTENSION = "io.modelcontextprotocol/tasks"


class OpenRequest(Request[Any, str]):
    """Any method with any parameters, sent as they are."""

    method: str
    params: Any = None

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """As they are, and a copy: the SDK writes its own metadata into it."""
        params = dict(self.params or {})
        if isinstance(params.get("_meta"), dict):
            params["_meta"] = dict(params["_meta"])
        return {"method": self.method, "params": params}


async def send_open(
    client: Client,
    request: OpenRequest,
    progress: Any,
    seconds: float,
    able: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The answer to a request, of any shape.

    ``able``: what a server of the newer era is told that the client can; by default all that
    this one can, and tasks.
    """
    session: Any = client.session
    data = request.model_dump()
    options: dict[str, Any] = {"timeout": seconds}
    session._stamp(data, options)
    params = data["params"]
    meta = as_dict(params.get("_meta"))
    if CLIENT_CAPABILITIES_META_KEY in meta:
        own = as_dict(meta[CLIENT_CAPABILITIES_META_KEY])
        meta[CLIENT_CAPABILITIES_META_KEY] = (
            {**own, "extensions": {TASKS_EXTENSION: {}}} if able is None else dict(able)
        )
        if isinstance(task := params.get("taskId"), str):
            options.setdefault("headers", {})[MCP_NAME_HEADER] = encode_header_value(task)
    if progress is not None:
        options["on_progress"] = progress
    return as_dict(await session._dispatcher.send_raw_request(data["method"], params, options))
