"""Results made to fit: texts are cut alike in content and structured content, all else stays."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from penstock.mcp.shorten import shorten


class Note(BaseModel):
    ident: int
    title: str
    texts: list[str]


def answer(result: Any, **dump: Any) -> tuple[bytes, dict[str, Any]]:
    message = {"jsonrpc": "2.0", "id": 2**60, "result": result}
    return json.dumps(message, **dump).encode(), message


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def test_a_long_text_is_cut_to_fit_and_says_so() -> None:
    body, message = answer({"content": [text("héllo ☃ " * 1000), text("short")], "isError": False})
    shorter = shorten(body, (), message, 2000)
    assert shorter is not None and 1000 < len(shorter) <= 2000
    made = json.loads(shorter)
    first, second = made["result"]["content"]
    assert first["text"].startswith("héllo ☃ ") and "characters left out]" in first["text"]
    assert second["text"] == "short" and made["id"] == 2**60
    assert shorter.startswith(body[:60])


def test_all_other_bytes_stay() -> None:
    """Spaces, escapes and numbers that do not survive a parser are as they came."""
    head = (
        b'{"jsonrpc": "2.0",  "id": 1, "result": {"n": 1.10, "big": 90071992547409931, "content":'
    )
    body = head + b' [{"type":"text", "text":"\\u0061' + b"x" * 5000 + b'"}] , "e": "\\u00e4"} }'
    shorter = shorten(body, (), json.loads(body), 1000)
    assert shorter is not None and len(shorter) <= 1000
    assert shorter.startswith(head) and shorter.endswith(b', "e": "\\u00e4"} }')
    assert b'"\\u0061xxx' in shorter


def test_structured_content_and_its_copy_stay_the_same() -> None:
    structured = {
        "rows": [{"id": n, "note": "n" * 400, "kind": "open"} for n in range(20)],
        "n": 20,
    }
    result = {"content": [text(json.dumps(structured))], "structuredContent": structured}
    body, message = answer(result)
    shorter = shorten(body, (), message, 8000)
    assert shorter is not None and len(shorter) <= 8000
    made = json.loads(shorter)["result"]
    assert json.loads(made["content"][0]["text"]) == made["structuredContent"]
    rows = made["structuredContent"]["rows"]
    assert [row["id"] for row in rows] == list(range(20))
    assert {row["kind"] for row in rows} == {"open"} and "left out" in rows[3]["note"]


def test_in_a_batch_only_its_own_message_is_cut() -> None:
    first, message = answer({"content": [text("a" * 3000)]})
    other, _ = answer({"content": [text("b" * 3000)]})
    body = b"[" + other + b"," + first + b"]"
    shorter = shorten(body, (1,), message, 500)
    assert shorter is not None and shorter.startswith(b"[" + other + b",")
    assert len(json.dumps(json.loads(shorter)[1])) <= 520


@pytest.mark.parametrize(
    "result",
    [
        {"content": [{"type": "image", "data": "A" * 5000, "mimeType": "image/png"}]},
        {"content": [text("x")], "structuredContent": {"n": list(range(5000))}},
        {"content": [text("x" * 60)] * 200},
        {"content": "x" * 5000},
        {"content": None},
        [],
        None,
    ],
)
def test_what_cannot_be_cut_is_not(result: Any) -> None:
    """Then the result is refused."""
    body, message = answer(result)
    assert shorten(body, (), message, 800) is None


async def test_a_real_servers_result_still_fits_its_schema() -> None:
    """The official SDK writes the structured content twice and declares its schema."""

    server = MCPServer("notes")

    @server.tool()
    def read() -> Note:
        return Note(ident=7, title="short", texts=["long " * 2000, "ä" * 3000])

    [tool] = await server.list_tools()
    called = await server.call_tool("read", {})
    plain = called if isinstance(called, dict) else called.model_dump(mode="json", by_alias=True)
    body, message = answer(plain)
    shorter = shorten(body, (), message, 6000)
    assert shorter is not None and len(shorter) <= 6000
    made = json.loads(shorter)["result"]
    schema = tool.model_dump(by_alias=True)["outputSchema"]
    jsonschema.validate(made["structuredContent"], schema)
    assert json.loads(made["content"][0]["text"]) == made["structuredContent"]
    assert made["structuredContent"]["ident"] == 7
