"""One corpus of odd requests, read by us and by the real server: no call may slip between.

For every request the real server acts on, either our reading names the same tool with the same
arguments, or it calls the request ambiguous (and it is refused). Requests that are merely
unusual must not be refused.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, NamedTuple

import httpx
import pytest
from mcp.server.mcpserver import MCPServer

from penstock.exchange import Destination, Exchange, HttpRequest
from penstock.wire.jsonrpc.calls import MCP

UNKNOWN = Destination("tools.internal", 80)
ACCEPT = "application/json, text/event-stream"


class Case(NamedTuple):
    """A request. ``fine``: it is unusual at most, and must be read and served."""

    name: str
    body: bytes
    headers: dict[str, str] = {}  # noqa: RUF012 (read only)
    fine: bool = False


def text(body: str) -> bytes:
    return body.encode()


def call(
    name: str = '"safe"', arguments: str = '{"x":"1"}', ident: str = "1", more: str = ""
) -> str:
    return (
        f'{{"jsonrpc":"2.0","id":{ident},"method":"tools/call",'
        f'"params":{{"name":{name},"arguments":{arguments}{more}}}}}'
    )


def modern(tool: str = "safe", version: str = "2026-07-28") -> bytes:
    meta = (
        f'"_meta":{{"io.modelcontextprotocol/protocolVersion":"{version}",'
        '"io.modelcontextprotocol/clientCapabilities":{}}'
    )
    return text(call(f'"{tool}"', more="," + meta))


def modern_headers(**more: str) -> dict[str, str]:
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "safe"}
    return headers | {name.replace("_", "-"): value for name, value in more.items()}


def coded(name: str) -> str:
    return f"=?base64?{base64.b64encode(name.encode()).decode()}?="


PLAIN = call()
FINE = [
    Case("plain", text(PLAIN)),
    Case("spaces", text(PLAIN.replace(",", " ,\t").replace(":", " : "))),
    Case("crlf between tokens", text(PLAIN.replace(",", ",\r\n"))),
    Case("leading and trailing space", text(f"\n \t{PLAIN}\r\n")),
    Case("escaped name", text(call('"s\\u0061fe"'))),
    Case("escaped key", text(PLAIN.replace('"name"', '"n\\u0061me"'))),
    Case("escaped method", text(PLAIN.replace("tools/call", "tools\\/call"))),
    Case("string id", text(call(ident='"a-1"'))),
    Case("id zero", text(call(ident="0"))),
    Case("negative id", text(call(ident="-5"))),
    Case("id above 2^53", text(call(ident="9007199254740993"))),
    Case("unicode arguments", text(call(arguments='{"x":"ä ☃ 🎉"}'))),
    Case("escaped surrogate pair", text(call(arguments='{"x":"\\ud83c\\udf89"}'))),
    Case("quotes in arguments", text(call(arguments='{"x":"say \\"hi\\" \\u0022now\\u0022"}'))),
    Case("arguments with a JSON text", text(call(arguments='{"x":"{\\"name\\":\\"danger\\"}"}'))),
    Case("unknown members", text(call(more=',"future":{"name":"danger"}'))),
    Case("unknown top members", text(PLAIN[:-1] + ',"trace":"t"}')),
    Case("progress token", text(call(more=',"_meta":{"progressToken":7}'))),
    Case(
        "params first",
        b'{"params":{"arguments":{"x":"1"},"name":"safe"},"method":"tools/call","id":1,"jsonrpc":"2.0"}',
    ),
    Case(
        "content type with charset",
        text(PLAIN),
        {"content-type": "application/json; charset=UTF-8"},
    ),
    Case("argument keys differing in case", text(call(arguments='{"x":"1","X":"2"}'))),
    Case("argument named like a protocol key", text(call(arguments='{"x":"1","Name":"danger"}'))),
    Case("modern", modern(), modern_headers()),
    Case("modern, encoded name", modern(), modern_headers(mcp_name=coded("safe"))),
]
HOSTILE = [
    Case("name twice", text(call('"safe","name":"danger"'))),
    Case("name twice, other order", text(call('"danger","name":"safe"'))),
    Case("name twice, once escaped", text(call('"danger","n\\u0061me":"safe"'))),
    Case("params twice", text(PLAIN[:-1] + ',"params":{"name":"danger","arguments":{}}}')),
    Case("method twice", text(PLAIN[:-1] + ',"method":"tools/list"}')),
    Case("method twice, call last", text(PLAIN.replace('"method"', '"method":"ping","method"'))),
    Case("arguments twice", text(call(more=',"arguments":{"x":"2"}'))),
    Case("an argument twice", text(call(arguments='{"x":"1","x":"2"}'))),
    Case("a deep argument twice", text(call(arguments='{"x":{"y":[{"z":1,"z":2}]}}'))),
    Case("id twice", text(call(ident='1,"id":2'))),
    Case("jsonrpc twice", text(PLAIN.replace('"jsonrpc"', '"jsonrpc":"1.0","jsonrpc"'))),
    Case("Name beside name", text(call('"safe","Name":"danger"'))),
    Case("NAME instead of name", text(PLAIN.replace('"name"', '"NAME"'))),
    Case("Params", text(PLAIN[:-1] + ',"Params":{"name":"danger"}}')),
    Case("Method", text(PLAIN[:-1] + ',"Method":"tools/list"}')),
    Case("JSONRPC", text(PLAIN.replace("jsonrpc", "JSONRPC"))),
    Case("long s in params", text(PLAIN[:-1] + ',"param\u017f":{"name":"danger"}}')),
    Case("Kelvin sign in task", text(call(more=',"tas\u212a":{}'))),
    Case("__proto__ in params", text(call(more=',"__proto__":{"name":"danger"}'))),
    Case("byte order mark", b"\xef\xbb\xbf" + text(PLAIN)),
    Case("UTF-16", PLAIN.encode("utf-16")),
    Case("UTF-16 without mark", PLAIN.encode("utf-16-le")),
    Case("UTF-32", PLAIN.encode("utf-32")),
    Case("invalid UTF-8", text(PLAIN).replace(b"safe", b"sa\xfffe")),
    Case("overlong UTF-8", text(PLAIN).replace(b"safe", b"s\xc1\xa1fe")),
    Case(
        "CESU-8 surrogates",
        text(call(arguments='{"x":"?"}')).replace(b"?", b"\xed\xa0\xbc\xed\xbe\x89"),
    ),
    Case("lone surrogate", text(call(arguments='{"x":"\\ud83c"}'))),
    Case("lone surrogate in the name", text(call('"safe\\ud83c"'))),
    Case("NaN", text(call(arguments='{"x":NaN}'))),
    Case("Infinity", text(call(arguments='{"x":-Infinity}'))),
    Case("number of 5000 digits", text(call(arguments='{"x":' + "9" * 5000 + "}"))),
    Case("exponent out of range", text(call(arguments='{"x":1e999}'))),
    Case("trailing comma", text(PLAIN.replace('"1"}', '"1",}'))),
    Case("comment", text("/* hi */" + PLAIN)),
    Case("single quotes", text(PLAIN.replace('"', "'"))),
    Case("trailing garbage", text(PLAIN + "x")),
    Case("two documents", text(PLAIN + PLAIN.replace("safe", "danger"))),
    Case("two documents on lines", text(PLAIN + "\n" + PLAIN.replace("safe", "danger"))),
    Case("NUL after the body", text(PLAIN) + b"\0"),
    Case("control character in a string", text(call('"sa\nfe"'))),
    Case("batch of one", text(f"[{PLAIN}]")),
    Case("batch of two", text(f"[{PLAIN},{PLAIN.replace('safe', 'danger')}]")),
    Case("batch in a later era", text(f"[{PLAIN}]"), {"mcp-protocol-version": "2025-11-25"}),
    Case("batch in a batch", text(f"[[{PLAIN}]]")),
    Case("empty batch", b"[]"),
    Case("request and response", text(PLAIN[:-1] + ',"result":{}}')),
    Case("request and error", text(PLAIN[:-1] + ',"error":{"code":1,"message":""}}')),
    Case("method not a string", text(PLAIN.replace('"tools/call"', '["tools/call"]'))),
    Case("method with a space", text(PLAIN.replace("tools/call", "tools/call "))),
    Case("method in capitals", text(PLAIN.replace("tools/call", "Tools/Call"))),
    Case(
        "params as an array", b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["safe",{}]}'
    ),
    Case("params as text", b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"safe"}'),
    Case("name as an array", text(call('["safe"]'))),
    Case("name null", text(call("null"))),
    Case("name a number", text(call("7"))),
    Case("name with NUL", text(call('"danger\\u0000"'))),
    Case("name with a space", text(call('"danger "'))),
    Case("arguments as an array", text(call(arguments='["x"]'))),
    Case("arguments as text", text(call(arguments='"{\\"x\\":\\"1\\"}"'))),
    Case("arguments null", text(call(arguments="null"))),
    Case("id null", text(call(ident="null"))),
    Case("id true", text(call(ident="true"))),
    Case("id 1.5", text(call(ident="1.5"))),
    Case("id 1.0", text(call(ident="1.0"))),
    Case("id an array", text(call(ident="[1]"))),
    Case("no id", text(PLAIN.replace('"id":1,', ""))),
    Case("jsonrpc 1.0", text(PLAIN.replace("2.0", "1.0"))),
    Case("jsonrpc a number", text(PLAIN.replace('"2.0"', "2.0"))),
    Case("no jsonrpc", text(PLAIN.replace('"jsonrpc":"2.0",', ""))),
    Case("nested 200 deep", text(call(arguments='{"x":' + "[" * 200 + "]" * 200 + "}"))),
    Case(
        "nested 100,000 deep", text(call(arguments='{"x":' + "[" * 100_000 + "]" * 100_000 + "}"))
    ),
    Case("empty body", b""),
    Case("gzip without saying so", gzip.compress(text(PLAIN))),
    Case("gzip", gzip.compress(text(PLAIN)), {"content-encoding": "gzip"}),
    Case("form content type", text(PLAIN), {"content-type": "application/x-www-form-urlencoded"}),
    Case("text content type", text(PLAIN), {"content-type": "text/plain"}),
    Case("modern: other method in header", modern(), modern_headers(mcp_method="tools/list")),
    Case("modern: other name in header", modern("danger"), modern_headers()),
    Case("modern: name twice in header", modern("danger"), modern_headers(mcp_name="danger, safe")),
    Case("modern: broken encoding", modern(), modern_headers(mcp_name="=?base64?c2FmZQ?=")),
    Case("modern: loose encoding", modern("safe"), modern_headers(mcp_name="=?base64?c2FmZR==?=")),
    Case("modern: capital encoding mark", modern(), modern_headers(mcp_name="=?BASE64?c2FmZQ==?=")),
    Case("modern: older version in body", modern(version="2025-11-25"), modern_headers()),
    Case("modern: version only in body", modern(), {}),
    Case(
        "modern: other task in header",
        text(
            '{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"danger","_meta":'
            '{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
            '"io.modelcontextprotocol/clientCapabilities":{}}}}'
        ),
        modern_headers(mcp_method="tasks/get"),
    ),
    Case("upper-case content type", text(PLAIN), {"content-type": "Application/JSON"}),
    Case("session era with modern headers", text(call('"danger"')), {"mcp-name": "safe"}),
]
CASES = [case._replace(fine=True) for case in FINE] + HOSTILE


class Backend:
    """The real server, in this process, noting what it was made to do."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        made = MCPServer("corpus")

        @made.tool()
        def safe(x: Any = None) -> str:
            """Harmless."""
            self.done.append(("safe", x))
            return "ok"

        @made.tool()
        def danger(x: Any = None) -> str:
            """Not allowed."""
            self.done.append(("danger", x))
            return "ok"

        self.app = made.streamable_http_app(stateless_http=True, json_response=True)


async def done_by_the_server(case: Case) -> list[tuple[str, Any]]:
    """Tools the real server ran for the request, each with its argument ``x``."""
    backend = Backend()
    headers = {"accept": ACCEPT, "content-type": "application/json", **case.headers}
    transport = httpx.ASGITransport(backend.app, raise_app_exceptions=False)
    async with (
        backend.app.router.lifespan_context(backend.app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        await client.post("/mcp", content=case.body, headers=headers)
    return backend.done


def ours(case: Case) -> Exchange | None:
    """Our reading; None when the request is not taken for MCP."""
    headers = {"accept": ACCEPT, "content-type": "application/json", **case.headers}
    request = HttpRequest("POST", "http", "tools.internal", 80, "/mcp", headers, case.body)
    return MCP.read_request(request, UNKNOWN) if MCP.recognise(request, UNKNOWN) else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_no_call_slips_between_the_parsers(case: Case) -> None:
    """What the server did is what we read, or we would have refused it."""
    done = await done_by_the_server(case)
    reading = ours(case)
    assert reading is not None
    if case.fine:
        assert reading.problem is None and done
    for tool, x in done if reading.problem is None else []:
        assert reading.mcp is not None
        assert reading.mcp.tool == tool
        assert same((reading.mcp.arguments or {}).get("x"), x)


def same(read: Any, served: Any) -> bool:
    """Equal, or equal once the JSON inside a string is parsed: the Python server does that."""
    return bool(read == served or (isinstance(read, str) and json.loads(read) == served))


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    """Sixty cases at least, each under its own name."""
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 100


@pytest.mark.parametrize("case", HOSTILE[:45], ids=lambda case: case.name)
def test_the_reading_of_ambiguous_requests_is_refused(case: Case) -> None:
    """Duplicates, letter case, encodings, not-quite JSON and batches each have a problem."""
    exceptions = {"batch of one"}  # legal in the one era that has no version header
    reading = ours(case)
    assert reading is not None
    assert (reading.problem is None) == (case.name in exceptions), reading.problem


def test_a_problem_never_repeats_the_request() -> None:
    """Problems go into logs and refusals: they hold none of the caller's text."""
    canary = "canary7731"
    for case in CASES:
        body = case.body.replace(b"safe", canary.encode()).replace(b"danger", canary.encode())
        reading = ours(case._replace(body=body))
        assert reading is None or canary not in (reading.problem or "")


def test_parsing_json_as_the_corpus_assumes() -> None:
    """Python's own parser takes the last of two keys: the reason duplicates are refused."""
    assert json.loads('{"name":"safe","name":"danger"}') == {"name": "danger"}
