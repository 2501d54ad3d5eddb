"""Attacks between a call and what follows it: states, answers to questions, subscriptions, tasks.

What belongs to one call, or to one caller, must not be of use with another.
"""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.cli.approval_desk import Desk
from tests.harness import Penstock, https_server, running_penstock
from tests.mcp_attacks.server import HOST, MODERN, Hostile, Wire, refused, text_result
from tests.mcp_attacks.test_results import TOKEN, asking, question

POLICY = f"""
version: 1
name: between
mode: enforce
rules:
  - id: named-things
    tools:
      server: "https://{HOST}/named/*"
      deny: [drop]
      resources: ["file:///srv/public/*"]
      prompts: [greet]
      features: [completion, subscriptions, tasks]
  - id: a-person-agrees
    tools: {{server: "https://{HOST}/asking/*", approve: [pay*], hold: 1s}}
  - id: no-secrets
    deny: {{find: [secret], in: [request]}}
"""
# The sender is another process: another caller, as far as this machine can tell them apart.
OTHER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.harness import Penstock
from tests.mcp_attacks.server import Wire
proxy = Penstock(None, sys.argv[2], "", Path("."), Path("."), {"SSL_CERT_FILE": sys.argv[3]})
wire = Wire(proxy, streamed=False, modern=sys.argv[4] == "True")
print(json.dumps(wire.last(sys.argv[5], sys.argv[6], json.loads(sys.argv[7]))))
"""


@pytest.fixture(scope="module")
def server() -> Hostile:
    return Hostile()


@pytest.fixture(scope="module")
def proxy(server: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("between")
    with (
        https_server(folder / "server", server, [HOST]) as upstream,
        running_penstock(folder / "penstock", POLICY, upstream) as started,
    ):
        yield started


def by_another(wire: Wire, path: str, method: str, parameters: Any, root: Any) -> Any:
    """The answer to the same request from another process."""
    trust = wire.proxy.environment["SSL_CERT_FILE"]
    told = (str(root), wire.proxy.listen, trust, str(wire.modern), path, method)
    done = subprocess.run(
        [sys.executable, "-c", OTHER, *told, json.dumps(parameters)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


# --------------------------------------------------------------------------- request state

ROUND = {
    "resultType": "input_required",
    "inputRequests": {"q": {"method": "elicitation/create", "params": question("Which size?")}},
}


def begun(wire: Wire, server: Hostile, state: str, tool: str = "order") -> dict[str, Any]:
    """What goes on with a call that the server answered with a question."""
    path = "/named/mcp"
    server.says[path] = {"tools/call": {**ROUND, "requestState": state}}
    server.says[path]["tools/call"].pop("inputRequests")  # the feature is not granted there
    answer = wire.call(path, tool, {"of": "shirt"})
    assert answer["result"]["requestState"] == state
    server.says[path] = {"tools/call": text_result("done")}
    accepted = {"q": {"action": "accept", "content": {"size": "M"}}}
    return {"name": tool, "arguments": {"of": "shirt"}, "requestState": state} | {
        "inputResponses": accepted
    }


def test_a_state_is_of_use_with_its_own_call_only(wire: Wire, server: Hostile) -> None:
    """A server that trusts it would run what it was given for."""
    state = f"own-{wire.streamed}-{wire.modern}"
    going_on = begun(wire, server, state)
    before = len(server.seen)
    other = wire.last("/named/mcp", "tools/call", {**going_on, "name": "look"})
    assert "given for another call" in refused(other) and len(server.seen) == before
    assert wire.last("/named/mcp", "tools/call", going_on)["result"] == text_result("done")


def test_a_state_is_of_use_to_its_own_caller_only(
    wire: Wire, server: Hostile, request: pytest.FixtureRequest
) -> None:
    state = f"mine-{wire.streamed}-{wire.modern}"
    going_on = begun(wire, server, state)
    before = len(server.seen)
    stolen = by_another(wire, "/named/mcp", "tools/call", going_on, request.config.rootpath)
    assert "given for another call" in refused(stolen) and len(server.seen) == before
    assert wire.last("/named/mcp", "tools/call", going_on)["result"] == text_result("done")


def test_a_state_nobody_here_gave_passes(wire: Wire, server: Hostile) -> None:
    """It may be from before a restart, or come by another proxy."""
    server.says["/named/mcp"] = {"tools/call": text_result("done")}
    params = {"name": "order", "arguments": {}, "requestState": "never seen"}
    assert wire.last("/named/mcp", "tools/call", params)["result"] == text_result("done")


# --------------------------------------------------------------------------- approvals

CHANGES = {
    "an answer to a question": {"inputResponses": {"q": {"content": {"amount": 1_000_000}}}},
    "a state": {"requestState": "amount=1000000"},
    "a task": {"task": {"ttl": 86_400_000}},
    "a member of _meta": {"_meta": {"bank.example/amount": 1_000_000}},
    "an unknown member": {"amount": 1_000_000},
}


def paid(wire: Wire, arguments: dict[str, Any], more: dict[str, Any]) -> Any:
    """A call with further parameters, beside what the era wants."""
    params: dict[str, Any] = {"name": "pay", "arguments": arguments}
    kept = {name: value for name, value in more.items() if name != "_meta"}
    if not wire.modern:
        return wire.last("/asking/mcp", "tools/call", {**params, **more})
    sender = Raw(wire.proxy)
    return sender.call("/asking/mcp", {**params, **kept}, more.get("_meta", {}))


@pytest.mark.parametrize("change", CHANGES)
def test_a_yes_is_not_for_the_call_with_something_added(
    wire: Wire, server: Hostile, change: str
) -> None:
    """What else a server may act on is what the person agreed to; the names are shown."""
    server.says["/asking/mcp"] = {"tools/call": text_result("paid")}
    arguments = {f"to_{wire.streamed}_{wire.modern}": change}
    desk, more = Desk(wire.proxy.state), CHANGES[change]

    def tickets() -> dict[str, list[str]]:
        mine = (row for row in desk.rows() if next(iter(arguments)) in row["arguments"])
        return {row["ticket"]: row["arguments"] for row in mine if row["standing"] == "open"}

    before = len(server.calls("/asking/mcp"))
    known = tickets()
    assert "needs a person's approval" in refused(paid(wire, arguments, {}))
    (ticket,) = tickets().keys() - known.keys()
    assert desk.answer(ticket, "approve")
    assert "needs a person's approval" in refused(paid(wire, arguments, more))
    assert len(server.calls("/asking/mcp")) == before
    (other,) = tickets().keys() - known.keys()
    shown = next(iter(more)) if "_meta" not in more else "_meta.bank.example/amount"
    assert shown in tickets()[other]
    assert paid(wire, arguments, {})["result"] == text_result("paid")
    assert desk.answer(other, "deny")


def test_a_yes_is_for_the_same_call_made_again(wire: Wire, server: Hostile) -> None:
    """Progress tokens, trace context and the client's name may differ."""
    server.says["/asking/mcp"] = {"tools/call": text_result("paid")}
    arguments = {f"again_{wire.streamed}_{wire.modern}": 1}
    said = refused(paid(wire, arguments, {"_meta": {"progressToken": 1}}))
    ticket = said.partition("ticket ")[2][:16]
    assert Desk(wire.proxy.state).answer(ticket, "approve")
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    again = {"_meta": {"progressToken": 2, "traceparent": trace}}
    assert paid(wire, arguments, again)["result"] == text_result("paid")


class Raw:
    """A client of the newer era whose ``_meta`` a test may add to."""

    def __init__(self, proxy: Penstock) -> None:
        context = ssl.create_default_context(cafile=proxy.environment["SSL_CERT_FILE"])
        self.connection = http.client.HTTPSConnection(*proxy.address, context=context, timeout=20)
        self.connection.set_tunnel(HOST, 443)

    def send(self, path: str, method: str, params: Any, meta: Any) -> bytes:
        needed = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {**params, "_meta": {**needed, **meta}}
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
            "user-agent": "Python-urllib/3.13",
        }
        if name := params.get("name"):
            headers["mcp-name"] = name
        self.connection.request("POST", path, body, headers)
        return self.connection.getresponse().read()

    def call(self, path: str, params: Any, meta: Any) -> Any:
        return json.loads(self.send(path, "tools/call", params, meta))


# --------------------------------------------------------------------------- _meta


@pytest.mark.parametrize("member", ["_meta", "requestState", "inputResponses", "task", "cursor"])
def test_a_secret_leaves_in_no_member_of_a_request(
    wire: Wire, server: Hostile, member: str
) -> None:
    """Also where nothing may be edited."""
    server.says["/named/mcp"] = {"tools/call": text_result("done")}
    value = TOKEN if member in ("requestState", "cursor") else {"x.example/note": TOKEN}
    params = {"name": "order", "arguments": {}}
    before = len(server.seen)
    if member == "_meta":
        answer = Raw(wire.proxy).call("/named/mcp", params, value)
    else:
        answer = wire.last("/named/mcp", "tools/call", {**params, member: value})
    assert "no-secrets" in refused(answer) and len(server.seen) == before


# --------------------------------------------------------------------------- subscriptions


@pytest.mark.parametrize(
    ("method", "parameters", "allowed"),
    [
        ("resources/subscribe", {"uri": "file:///etc/shadow"}, False),
        ("resources/subscribe", {"uri": "file:///srv/public/a"}, True),
        ("subscriptions/listen", ["file:///srv/public/a", "file:///etc/shadow"], False),
        ("subscriptions/listen", ["file:///srv/public/a"], True),
        ("completion/complete", {"type": "ref/prompt", "name": "secret_plan"}, False),
        ("completion/complete", {"type": "ref/prompt", "name": "greet"}, True),
        ("completion/complete", {"type": "ref/resource", "uri": "file:///etc/shadow"}, False),
        ("completion/complete", {"type": "ref/resource", "uri": "file:///srv/public/a"}, True),
        ("completion/complete", {"type": "ref/resource", "uri": "file:///{path}"}, True),
    ],
)
def test_what_may_not_be_read_is_not_followed_or_completed(
    wire: Wire, server: Hostile, method: str, parameters: Any, allowed: bool
) -> None:
    server.says["/named/mcp"] = {method: {"resultType": "complete"}}
    if method == "subscriptions/listen":
        parameters = {"notifications": {"resourceSubscriptions": parameters}}
    elif method == "completion/complete":
        parameters = {"ref": parameters, "argument": {"name": "a", "value": ""}}
    before = len(server.seen)
    answer = wire.last("/named/mcp", method, parameters)
    assert ("result" in answer) is allowed, answer
    assert allowed or "not on the list" in answer["error"]["message"]
    assert len(server.seen) == before + allowed


def test_a_server_asks_nothing_on_a_stream_of_lines(proxy: Penstock, server: Hostile) -> None:
    """Some servers answer ``subscriptions/listen`` with JSON lines: the rules are the same."""
    said = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    ask = asking("elicitation/create", question("Your password, please"))
    server.lines["/named/mcp"] = [said, ask, said]
    listen = {"notifications": {"toolsListChanged": True}}
    got = Raw(proxy).send("/named/mcp", "subscriptions/listen", listen, {})
    assert b"password" not in got and json.loads(got.split(b"\n")[0]) == said
    assert b"elicitation is not on the list" in got
    server.lines["/named/mcp"] = [said, said]
    got = Raw(proxy).send("/named/mcp", "subscriptions/listen", listen, {})
    assert got == 2 * (json.dumps(said).encode() + b"\n")
    del server.lines["/named/mcp"]


# --------------------------------------------------------------------------- tasks


def test_a_task_is_not_fed_whose_tool_may_not_be_called(
    wire: Wire, server: Hostile, proxy: Penstock
) -> None:
    """Allowed when it was started, forbidden now: neither read nor gone on with; another's is."""
    path, task = "/named/mcp", f"task-{wire.streamed}-{wire.modern}"
    file = proxy.state.parent / "policy.yaml"
    started = {"task": {"taskId": task, "status": "working"}, "resultType": "task"}
    server.says[path] = {
        "tools/call": started,
        "tasks/update": {"resultType": "complete"},
        "tasks/get": {"taskId": task, "status": "completed", "result": text_result("late")},
    }
    update = {"taskId": task, "inputResponses": {"q": {"action": "accept"}}}
    assert wire.call(path, "export")["result"] == started
    assert "result" in wire.last(path, "tasks/update", update)
    file.write_text(POLICY.replace("deny: [drop]", "deny: [drop, export]"))
    try:
        until_refused(wire, path)
        before = len(server.seen)
        for method, params in (("tasks/update", update), ("tasks/get", {"taskId": task})):
            assert "error" in (said := wire.last(path, method, params)), said
        assert len(server.seen) == before
    finally:
        file.write_text(POLICY)
        until_refused(wire, path, not_any_more=True)


def until_refused(wire: Wire, path: str, not_any_more: bool = False) -> None:
    """Until the changed policy is in force."""
    end = time.monotonic() + 30
    while ("isError" in wire.call(path, "export")["result"]) is not_any_more:
        assert time.monotonic() < end
        time.sleep(0.1)
