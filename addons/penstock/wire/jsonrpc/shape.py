"""What JSON-RPC messages look like, and which of them are MCP (or A2A).

MCP is recognised by content, never by host alone: a server may stand anywhere, and any host
may serve one. Recognition is generous (letter case, odd encodings), so that a message some
server would accept is never taken for something nobody governs; the strict reading comes
after, in ``jsonrpc_checks``. Sources: JSON-RPC 2.0; MCP specification, 2024-11-05 to 2026-07-28.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from penstock.exchange import Destination, HttpRequest

Kind = Literal["request", "notification", "response", "none"]

# The revision that removed sessions and put metadata on each request; dates compare as text.
MODERN_SINCE = "2026-07-28"
# The one revision with JSON-RPC batches. It had no version header either.
BATCH_VERSION = "2025-03-26"

VERSION_HEADER = "mcp-protocol-version"
SESSION_HEADER = "mcp-session-id"
METHOD_HEADER = "mcp-method"
NAME_HEADER = "mcp-name"
PARAMETER_PREFIX = "mcp-param-"
HEADERS = (VERSION_HEADER, SESSION_HEADER, METHOD_HEADER, NAME_HEADER)

VERSION_META = "io.modelcontextprotocol/protocolVersion"
CLIENT_META = "io.modelcontextprotocol/clientInfo"

METHODS = frozenset(
    {
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "resources/subscribe",
        "resources/unsubscribe",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "server/discover",
        "subscriptions/listen",
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/cancel",
        "tasks/update",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
    }
)
# The parameter that names what a method acts on, mirrored in the Mcp-Name header.
NAMED: Mapping[str, str] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

# Where a server may route by that header too: the tasks extension names the task there.
ROUTED: Mapping[str, str] = {
    **NAMED, "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId",
    "tasks/result": "taskId",
}  # fmt: skip

A2A_METHODS = frozenset(
    {
        "message/send",
        "message/stream",
        "tasks/resubscribe",
        "tasks/pushNotificationConfig/set",
        "tasks/pushNotificationConfig/get",
        "tasks/pushNotificationConfig/list",
        "tasks/pushNotificationConfig/delete",
        "agent/getAuthenticatedExtendedCard",
        "SendMessage",
        "SendStreamingMessage",
        "GetTask",
        "ListTasks",
        "CancelTask",
        "SubscribeToTask",
    }
)

# Members only a model call has. A body with these sent to a model's own API is a model call,
# whatever else is written beside them.
_MODEL_MEMBERS = frozenset({"messages", "input", "contents", "prompt", "model"})
# Where model calls go at hosts nobody knows (self-hosted models, gateways): those families go by
# path, so what stands here is governed as a model call if it is not plainly JSON-RPC.
_MODEL_PATH = re.compile(
    r"/(?:chat/completions|completions|responses|messages|embeddings|converse(?:-stream)?"
    r"|invoke(?:-with-response-stream)?|api/chat|api/generate)$|:\w{0,40}[gG]enerateContent$"
)
_EVENT_PATHS = ("sse", "mcp")  # usual last path segments of an MCP event stream


def kind_of(message: Any) -> Kind:
    """What a parsed JSON-RPC message is; ``none`` when it is not one."""
    if not isinstance(message, dict):
        return "none"
    if isinstance(message.get("method"), str):
        return "request" if "id" in message else "notification"
    return "response" if "result" in message or "error" in message else "none"


def messages_of(document: Any) -> list[dict[str, Any]]:
    """The JSON-RPC messages of a body: one, or those of a batch; other elements left out."""
    candidates = document if isinstance(document, list) else [document]
    return [message for message in candidates if kind_of(message) != "none"]


def is_modern(version: str | None) -> bool:
    """True for a protocol version without sessions; an unknown one is not modern."""
    return version is not None and len(version) == len(MODERN_SINCE) and version >= MODERN_SINCE


def accepts(request: HttpRequest, media_type: str) -> bool:
    """True when the Accept header names ``media_type`` itself."""
    return media_type in request.headers.get("accept", "").lower()


def speaks_mcp(request: HttpRequest, destination: Destination) -> bool:
    """True when ``request`` is part of an MCP conversation."""
    method = request.method.upper()
    if method == "GET":
        return accepts(request, "text/event-stream") and _opens_stream(request, destination)
    if method == "DELETE":
        return SESSION_HEADER in request.headers
    return method == "POST" and _posts_mcp(request, destination)


def speaks_a2a(request: HttpRequest) -> bool:
    """True for a JSON-RPC call of the Agent2Agent protocol."""
    if request.method.upper() != "POST" or b'"jsonrpc"' not in request.body:
        return False
    return any(_is_a2a(message) for message in messages_of(loose_document(request.body)))


def loose_document(body: bytes) -> Any:
    """The JSON value of ``body`` in any encoding a lenient server might read; else None."""
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    try:
        return json.loads(body)  # UTF-16 and UTF-32, byte order marks, NaN
    except (ValueError, RecursionError):
        return None


def _opens_stream(request: HttpRequest, destination: Destination) -> bool:
    if destination.category == "mcp" or any(name in request.headers for name in HEADERS):
        return True
    segment = request.path.partition("?")[0].rstrip("/").rpartition("/")[2]
    return segment.lower() in _EVENT_PATHS


def _posts_mcp(request: HttpRequest, destination: Destination) -> bool:
    at_model = destination.known and destination.category in ("llm_api", "gateway")
    marked = any(name in request.headers for name in HEADERS) or (
        accepts(request, "application/json") and accepts(request, "text/event-stream")
    )
    model_path = _MODEL_PATH.search(request.path.partition("?")[0]) is not None
    if at_model and model_path:
        return False
    if not marked and not _may_be_rpc(request.body, at_model or model_path):
        return False
    document = loose_document(request.body)
    members = document if isinstance(document, list) else [document]
    folded = [_folded(member) for member in members if isinstance(member, dict)]
    if at_model and any(_MODEL_MEMBERS & member.keys() for member in folded):
        return False
    rpc = [member for member in folded if _is_rpc(member)]
    if not rpc:
        # Not JSON-RPC, or not readable: MCP only if the request itself says so.
        return marked and not at_model and (not folded or _names_mcp(request))
    return marked or destination.category == "mcp" or any(map(_is_mcp, rpc))


def _is_rpc(message: dict[str, Any]) -> bool:
    """JSON-RPC by its mark, or, where a lenient server would not miss that, by what it says."""
    method = message.get("method")
    known = isinstance(method, str) and method in METHODS
    return known or "jsonrpc" in message or kind_of(message) == "response"


def _names_mcp(request: HttpRequest) -> bool:
    return METHOD_HEADER in request.headers or SESSION_HEADER in request.headers


def _may_be_rpc(body: bytes, plain_only: bool) -> bool:
    """A first look without parsing: model calls of megabytes pass here at each turn."""
    if b'"jsonrpc"' in body:
        return True
    start = body[:4]
    odd = b"\0" in start or start[:3] == b"\xef\xbb\xbf" or start[:2] in (b"\xff\xfe", b"\xfe\xff")
    if odd:
        return True
    if plain_only:
        return False
    # No version mark at all, another letter case, or escaped letters in the key itself.
    return b'"method"' in body or b"\\u" in body or b'"jsonrpc"' in body.lower()


def _folded(message: dict[str, Any]) -> dict[str, Any]:
    return {key.casefold(): value for key, value in message.items()}


def _is_mcp(message: dict[str, Any]) -> bool:
    if kind_of(message) == "response":
        return "id" in message and "jsonrpc" in message  # nobody else posts JSON-RPC answers
    method = message.get("method")
    if not isinstance(method, str) or _is_a2a(message):
        return False
    return method in METHODS or method.startswith("notifications/")


def _is_a2a(message: dict[str, Any]) -> bool:
    method, params = message.get("method"), message.get("params")
    if not isinstance(method, str) or method in A2A_METHODS:
        return isinstance(method, str)
    # Both protocols have tasks/get and tasks/cancel; A2A names the task "id", MCP "taskId".
    shared = method in ("tasks/get", "tasks/cancel")
    return shared and isinstance(params, dict) and "id" in params and "taskId" not in params
