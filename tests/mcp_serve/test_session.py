"""Lines of a client and a server over a pipe: judged, and as they came where no rule acts."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.gateway.stdio.session import COMPLAINTS_MAX, PENDING_MAX
from penstock.proxy.addons.govern import Govern
from tests.mcp_serve.conftest import Desk

Desks = Callable[[str], Desk]

POLICY = """
version: 1
name: shop
mode: enforce
rules:
  - id: no-drops
    tools: {server: "stdio://shop", deny: [drop_table], features: [], refuse: FORM}
  - id: no-mail
    redact: {find: [pii.email], in: [both], with: placeholder}
  - id: no-keys
    deny: {find: [secret.private_key]}
"""
HIDDEN = POLICY.replace("FORM", "hidden")
OBSERVE = "version: 1\nname: t\nmode: observe\nrules: []\n"
KEY = "-----BEGIN PRIVATE KEY-----\\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 4
KEY += "\\n-----END PRIVATE KEY-----"


def request(method: str, ident: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}


def call(tool: str, ident: Any = 1, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", ident, name=tool, arguments=arguments)


def result(ident: Any, **members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": ident, "result": members}


async def test_what_no_rule_changes_passes_byte_for_byte(desk: Desks) -> None:
    """Spacing, key order, huge and odd numbers, escapes, unknown members, line ends: all stay."""
    it = desk(HIDDEN)
    asked = (
        b'{ "params":{"arguments":{"n":12345678901234567890123, "f":1.0e0,"u":"\\u0041"},'
        b'"name":"add","_meta":{"progressToken":0, "x-y":[1]}},"method":"tools/call",'
        b'"id":0,"jsonrpc":"2.0" , "extra" : null}'
    )
    answered = (
        b'{"result":{"content":[{"type":"text","text":"\\u0041 \xc3\xa4"}],"n":1.50,'
        b'"structuredContent":{"a":90071992547409931}},"id":0,"jsonrpc":"2.0"}'
    )
    assert await it.up(asked, b"\r\n") == ([], [asked + b"\r\n"])
    assert await it.down(answered, b"\r\n") == ([answered + b"\r\n"], [])
    told = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data" : "hi"}}'
    assert await it.down(told) == ([told + b"\n"], [])
    assert await it.up(b"  ") == ([], [b"  \n"])
    [record] = it.records()
    assert (record["mcp"]["tool"], record["outcome"]) == ("add", "answered")
    assert record["destination"]["host"] == "shop" and record["caller"]["user"] == "ada"


@pytest.mark.parametrize("ident", [0, 7, "0", "x", 2**60])
@pytest.mark.parametrize("form", ["hidden", "advise", "error"])
async def test_a_refused_call_is_answered_under_its_own_id(
    desk: Desks, ident: Any, form: str
) -> None:
    it = desk(POLICY.replace("FORM", form))
    [answer], to_server = await it.up(call("drop_table", ident, name="t"))
    assert to_server == [] and answer.endswith(b"\n") and answer.count(b"\n") == 1
    document = json.loads(answer)
    assert document["id"] == ident and type(document["id"]) is type(ident)
    if form == "advise":
        assert document["result"]["isError"] is True
    else:
        assert document["error"]["code"] == (-32602 if form == "hidden" else -31403)
    assert [record["verdict"] for record in it.records()] == ["deny"]


async def test_lists_lose_what_may_not_be_called(desk: Desks) -> None:
    it = desk(HIDDEN)
    await it.up(request("tools/list"))
    listed = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"}, {"name":"drop_table"}]}}'
    [answer], _ = await it.down(listed)
    assert answer == b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"add"}]}}\n'


async def test_what_was_hidden_from_the_server_is_restored_for_the_client(desk: Desks) -> None:
    it = desk(HIDDEN)
    _, [sent] = await it.up(call("echo", text="to ada@example.org now"))
    text = json.loads(sent)["params"]["arguments"]["text"]
    assert "ada@example.org" not in text
    [answer], _ = await it.down(result(1, content=[{"type": "text", "text": f"got {text}"}]))
    assert "got to ada@example.org now" in answer.decode()
    [record] = it.records()
    assert record["findings"] and "ada@example" not in json.dumps(record)


def test_a_carriage_return_does_begin_a_message_for_some_servers() -> None:
    """Why it is refused: Python's text files split lines there, and so does its SDK's server."""
    smuggling = b'{"jsonrpc":"2.0","id":1,"method":"ping","x":\r{"call":1}\r}\n'
    assert json.loads(smuggling)["x"] == {"call": 1}
    assert '{"call":1}\n' in list(io.TextIOWrapper(io.BytesIO(smuggling), "utf-8"))


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":\r{"name":"drop_table"}\r}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","name":"drop_table"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"drop_table","name":"add"}}',
        b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]',
    ],
)
async def test_what_parsers_read_differently_is_refused_under_its_id(
    desk: Desks, line: bytes
) -> None:
    it = desk(HIDDEN)
    [answer], to_server = await it.up(line)
    assert to_server == []
    document = json.loads(answer)
    first = document[0] if isinstance(document, list) else document
    assert first["id"] == 1 and first["error"]["code"] == -32600


@pytest.mark.parametrize(
    "line", [b"\xff\xfe{}", b"{", b'"x"', b"[]", b"\xef\xbb\xbf{}", b"[" * 999]
)
async def test_what_has_no_id_is_dropped_and_told(desk: Desks, line: bytes) -> None:
    """No client survives an answer without an id."""
    it = desk(HIDDEN)
    assert await it.up(line) == ([], [])
    assert it.told and line.decode("latin-1") not in it.told[0]


@pytest.mark.parametrize(
    "line",
    [
        b"Server listening on 8080",
        b"",
        b'{"level":"info"}',
        b"[]",
        b'{"jsonrpc":"2.0","id":1,\r"result":{}}',
        b"\x00\x01",
        b'{"jsonrpc":"2.0","id":99,"result":{}}',
        b'{"jsonrpc":"2.0","id":"1","result":{}}',
        b'{"jsonrpc":"2.0","id":null,"result":{}}',
        b'[{"jsonrpc":"2.0","id":1,"result":{}}]',
        b"[" * 999,
    ],
)
async def test_a_server_that_says_something_else_is_not_heard(desk: Desks, line: bytes) -> None:
    """Log lines, answers to nobody and half messages stay away from the client; the call waits."""
    it = desk(HIDDEN)
    await it.up(call("add"))
    if line:
        assert await it.down(line) == ([], [])
    for _ in range(3 * COMPLAINTS_MAX):
        await it.down(b"noise with a secret in it")
    assert len(it.told) == COMPLAINTS_MAX + 1 and not any("secret" in text for text in it.told)
    assert len((await it.down(result(1, ok=True)))[0]) == 1


async def test_observe_passes_all_of_that(desk: Desks) -> None:
    it = desk(OBSERVE)
    for line in (b"Server listening", b'{"jsonrpc":"2.0","id":99,"result":{}}', b"\xff"):
        assert await it.down(line) == ([line + b"\n"], [])
        assert await it.up(line) == ([], [line + b"\n"])


async def test_a_request_the_server_may_not_make_is_answered_to_the_server(desk: Desks) -> None:
    """The person is not asked, and the server does not wait for ever."""
    it = desk(HIDDEN)
    await it.up(call("ask"))
    asks = request("elicitation/create", "s1", message="Your password?", requestedSchema={})
    to_client, [answer] = await it.down(asks)
    assert to_client == [] and json.loads(answer)["id"] == "s1" and "error" in json.loads(answer)
    assert len((await it.down(result(1, content=[])))[0]) == 1


async def test_an_answer_the_client_may_not_give_is_an_error_to_the_server(desk: Desks) -> None:
    it = desk(HIDDEN)
    said = b'{"jsonrpc":"2.0","id":"s1","result":{"text":"' + KEY.encode() + b'"}}'
    to_client, [answer] = await it.up(said)
    assert to_client == []
    document = json.loads(answer)
    assert document["id"] == "s1" and document["error"]["code"] == -31403
    assert "PRIVATE" not in answer.decode()


async def test_an_id_in_use_cannot_be_used_again(desk: Desks) -> None:
    """Else the answer to one call would be judged as another's."""
    it = desk(HIDDEN)
    await it.up(request("tools/list", 1))
    [answer], to_server = await it.up(call("add", 1))
    assert to_server == [] and json.loads(answer)["id"] == 1


@pytest.mark.parametrize("policy", [HIDDEN, OBSERVE])
async def test_calls_that_are_never_answered_are_bounded(desk: Desks, policy: str) -> None:
    it = desk(policy)
    for number in range(PENDING_MAX + 5):
        await it.up(request("ping", number))
    assert len(it.session.pending) == PENDING_MAX


async def test_a_cancelled_call_is_over(desk: Desks) -> None:
    it = desk(HIDDEN)
    await it.up(call("slow", 5))
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    assert len((await it.up(cancel))[1]) == 1
    assert it.session.pending == {}
    assert await it.down(result(5, content=[])) == ([], [])
    assert "aborted" in [record["outcome"] for record in it.records()]


@pytest.mark.parametrize(("by_client", "outcome"), [(True, "aborted"), (False, "failed")])
async def test_the_end_closes_the_books(desk: Desks, by_client: bool, outcome: str) -> None:
    it = desk(HIDDEN)
    await it.up(call("slow", 5))
    await it.session.end(by_client)
    assert [record["outcome"] for record in it.records()] == [outcome]


async def test_the_version_agreed_on_is_that_of_later_messages(desk: Desks) -> None:
    """Batches belong to one revision: with another one they are refused."""
    it = desk(HIDDEN)
    await it.up(request("initialize", 1, protocolVersion="2025-03-26", capabilities={}))
    agreed = result(1, protocolVersion="2025-03-26", serverInfo={"name": "s"}, capabilities={})
    await it.down(agreed)
    batch = [request("ping", 2), {"jsonrpc": "2.0", "method": "notifications/x"}]
    assert len((await it.up(batch))[1]) == 1
    assert len((await it.down([result(2)]))[0]) == 1
    it.session.version = "2025-06-18"
    assert (await it.up(batch))[1] == []


@pytest.mark.parametrize(("on_error", "passes"), [("deny", False), ("allow", True)])
async def test_a_check_that_raises_is_a_decision(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, on_error: str, passes: bool
) -> None:
    it = desk(HIDDEN.replace("rules:", f"on_error: {on_error}\nrules:"))
    await it.up(call("add", 1))

    def broken(*_: Any) -> Any:
        raise RuntimeError("ada@example.org")

    monkeypatch.setattr(Govern, "decide", broken)
    to_client, to_server = await it.up(call("add", 2))
    monkeypatch.setattr("penstock.gateway.calls.judge", broken)
    answers, _ = await it.down(result(1, content=[]))
    if passes:
        assert len(to_server) == 1 and "result" in json.loads(answers[0])
    else:
        assert to_server == [] and json.loads(to_client[0])["id"] == 2
        assert json.loads(answers[0])["id"] == 1 and "error" in json.loads(answers[0])
    failures = [record["failure"] for record in it.records()]
    assert len(failures) == 2 and "ada@" not in json.dumps(it.records())


async def test_a_large_message_is_judged_aside(desk: Desks) -> None:
    """Beyond the bound for the loop the same rules hold."""
    it = desk(HIDDEN)
    _, [sent] = await it.up(call("echo", text="Tea is warm. " * 8_000 + "ada@example.org"))
    assert b"ada@example.org" not in sent
    words = [{"type": "text", "text": "Cups are here. " * 8_000 + "bob@example.org"}]
    [answer], _ = await it.down(result(1, content=words))
    assert b"bob@example.org" not in answer


APPROVE = """
version: 1
name: shop
mode: enforce
rules:
  - id: ask-first
    tools: {server: "stdio://shop", approve: [pay], refuse: error, hold: 20s}
  - id: no-mail
    redact: {find: [pii.email], in: [both], with: placeholder}
"""


async def put_up(it: Desk) -> Any:
    """The ticket a person is shown."""
    approvals = it.service.governance.approvals
    while not (found := list(approvals.all())):
        await asyncio.sleep(0.01)
    [ticket] = found
    return ticket


async def test_a_held_call_waits_for_a_person_and_nothing_else_waits_for_it(desk: Desks) -> None:
    """The yes lets it go on as it would have gone; meanwhile other calls pass."""
    it = desk(APPROVE)
    approvals = it.service.governance.approvals
    assert await it.up(call("pay", 1, to="ada@example.org")) == ([], [])
    _, [other] = await it.up(call("add", 2))
    assert b'"add"' in other
    waiting = await put_up(it)
    assert (waiting.tool, waiting.server) == ("pay", "stdio://shop")
    approvals.answer(waiting.ticket, "approved")
    said = await asyncio.wait_for(it.afterwards.get(), 20)
    [sent] = said.to_server
    assert json.loads(sent)["params"]["name"] == "pay" and b"ada@example.org" not in sent
    assert len((await it.down(result(1, content=[])))[0]) == 1
    assert it.session.pending.keys() == {("int", "2")}


async def test_a_person_who_says_no_refuses_the_call_under_its_id(desk: Desks) -> None:
    it = desk(APPROVE)
    approvals = it.service.governance.approvals
    await it.up(call("pay", "p1"))
    waiting = await put_up(it)
    approvals.answer(waiting.ticket, "denied")
    said = await asyncio.wait_for(it.afterwards.get(), 20)
    [answer] = map(json.loads, said.to_client)
    assert answer["id"] == "p1" and "said no" in answer["error"]["message"]
    assert said.to_server == [] and it.session.pending == {}


async def test_a_held_call_that_is_cancelled_is_not_made(desk: Desks) -> None:
    """Nor one whose client went away; and its id is in use while it is held."""
    it = desk(APPROVE)
    approvals = it.service.governance.approvals
    await it.up(call("pay", 1))
    [again], _ = await it.up(call("add", 1))
    assert json.loads(again)["error"]
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    await it.up(cancel)
    waiting = await put_up(it)
    approvals.answer(waiting.ticket, "approved")
    while it.session._held:
        await asyncio.sleep(0.01)
    assert it.afterwards.empty()
    await it.up(call("pay", 3, n=1))
    await it.session.end(by_client=True)
    while it.session._held:
        await asyncio.sleep(0.01)
    assert it.afterwards.empty()
    assert [r["outcome"] for r in it.records() if r["mcp"].get("tool") == "pay"] == ["aborted"] * 2


async def test_a_yes_used_between_decision_and_call_lets_nothing_through(
    desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process was quicker: what the decision stood on is gone when it is acted on."""
    it = desk(APPROVE)
    approvals = it.service.governance.approvals
    await it.up(call("pay", 1))
    waiting = await put_up(it)
    monkeypatch.setattr(approvals, "approved", lambda ticket: ticket == waiting.ticket)
    [answer], sent = await it.up(call("pay", 2))
    assert "used by another call" in json.loads(answer)["error"]["message"] and sent == []
