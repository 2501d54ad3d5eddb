"""How a refused MCP call is told: an answer every client understands, under the call's own id.

Measured with the Python and TypeScript clients of both eras: HTTP 200 with a result marked
``isError`` reaches the model as text, HTTP 200 with a JSON-RPC error reaches the program;
other statuses lose the text, end the session or start an OAuth loop, and a wrong id hangs the
client. So refusals are 200; only what has no id to answer, or could not be read, is 400.
Own error codes stay outside the range JSON-RPC and MCP reserve (-32768 to -32000).
"""

from __future__ import annotations

import json
from typing import Any

from penstock.exchange import Exchange, HttpAnswer, McpCall
from penstock.wire.family import Refusal
from penstock.wire.jsonrpc.checks import code_of
from penstock.wire.refusals import refusal_headers

POLICY_DENIED = -31403
LIMIT_REACHED = -31429
INVALID_PARAMS = -32602
METHOD_NOT_FOUND = -32601

# A name is echoed only so far: it comes from the caller.
NAME_CHARACTERS_MAX = 128
_UNREADABLE = "unreadable_request:"


def problem_refusal(exchange: Exchange, rule: str, decision_id: str) -> Refusal:
    """The refusal of a request whose ``problem`` says that it cannot be judged."""
    problem = exchange.problem or "not readable"
    return Refusal(
        400,
        f"{_UNREADABLE}{code_of(problem)}",
        f"Refused by policy: the MCP request cannot be read safely ({problem}).",
        rule,
        decision_id,
        form="error",
        call=exchange.mcp,
    )


def http_refusal(refusal: Refusal) -> HttpAnswer:
    """The refusal as a plain HTTP answer."""
    call = refusal.call
    answerable = call is not None and any(ident is not None for ident in call.ids)
    malformed = refusal.code.startswith(_UNREADABLE)
    headers = {"content-type": "application/json", **refusal_headers(refusal)}
    status = 200 if (answerable or refusal.parts) and not malformed else 400
    return HttpAnswer(status, headers, refusal_document(refusal, call))


def refusal_document(refusal: Refusal, call: McpCall | None) -> bytes:
    """The JSON-RPC message that says it; for a batch one message for each request in it."""
    if refusal.parts:
        answers = [one for part in refusal.parts for one in _answers(part, part.call)]
        return _bytes(answers or {"jsonrpc": "2.0", "id": None, "error": _error(refusal)})
    if call is None:
        return _bytes({"jsonrpc": "2.0", "id": None, "error": _error(refusal)})
    documents = _answers(refusal, call)
    if not documents:
        return _bytes({"jsonrpc": "2.0", "id": None, "error": _error(refusal)})
    return _bytes(documents if call.batch else documents[0])


def answer_refusal(refusal: Refusal, call: McpCall | None, message: dict[str, Any]) -> bytes | None:
    """The refusal in place of one message of the server; None for one that answers nothing.

    The id is the message's own: on a stream that was resumed, or of the older transport, the
    call it answers was made elsewhere, and its result tells what was called.
    """
    ident = message.get("id")
    answers = "result" in message or "error" in message
    if not answers or isinstance(ident, bool) or not isinstance(ident, str | int):
        return None
    call = call or McpCall()
    asked = dict(zip(call.ids, call.methods, strict=False)) if ident in call.ids else {}
    result = message.get("result")
    of_tool = isinstance(result, dict) and isinstance(result.get("content"), list)
    method = asked.get(ident) or ("tools/call" if of_tool else "")
    return _bytes(_answer(refusal, call, method, ident))


def _answers(refusal: Refusal, call: McpCall | None) -> list[dict[str, Any]]:
    """One message for each request of the refused call."""
    if call is None:
        return []
    asked = zip(call.methods, call.ids, strict=False)
    return [_answer(refusal, call, method, ident) for method, ident in asked if ident is not None]


def _answer(refusal: Refusal, call: McpCall, method: str, ident: str | int) -> dict[str, Any]:
    form = refusal.form or "advise"
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": ident}
    if form == "hidden":
        message["error"] = _unknown(call, method)
    elif form == "advise" and method == "tools/call":
        message["result"] = _advice(refusal, call)
    else:
        message["error"] = _error(refusal)
    return message


def _advice(refusal: Refusal, call: McpCall) -> dict[str, Any]:
    result: dict[str, Any] = {
        "content": [{"type": "text", "text": refusal.message}],
        "isError": True,
    }
    if call.modern:  # required on every result since 2026-07-28; unknown before
        result["resultType"] = "complete"
    return result


def _unknown(call: McpCall, method: str) -> dict[str, Any]:
    """What a server says that does not have the thing: nothing here tells of a policy."""
    if method == "tools/call":
        return {"code": INVALID_PARAMS, "message": f"Unknown tool: {_short(call.tool)}"}
    if method == "prompts/get":
        return {"code": INVALID_PARAMS, "message": f"Unknown prompt: {_short(call.prompt)}"}
    if method == "resources/read":
        code = INVALID_PARAMS if call.modern else -32002  # changed in 2026-07-28
        return {"code": code, "message": f"Resource not found: {_short(call.resource_uri)}"}
    return {"code": METHOD_NOT_FOUND, "message": "Method not found"}


def _error(refusal: Refusal) -> dict[str, Any]:
    code = LIMIT_REACHED if refusal.status == 429 else POLICY_DENIED
    if refusal.code.startswith(_UNREADABLE):
        code = int(refusal.code.removeprefix(_UNREADABLE))
    data: dict[str, Any] = {"rule": refusal.rule, "decision": refusal.decision_id}
    if refusal.retry_after_seconds is not None:
        data["retryAfterSeconds"] = refusal.retry_after_seconds
    return {"code": code, "message": refusal.message, "data": {"penstock": data}}


def _short(name: str | None) -> str:
    return (name or "")[:NAME_CHARACTERS_MAX]


def _bytes(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
