"""Speed overrides: they apply to the known core only, and change nothing but time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.coretypes.multidict import MultiDict
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, mode_specs
from mitmproxy.proxy.server import ConnectionIO

from penstock.proxy.engine import speed
from penstock.proxy.engine.connection import Handler
from penstock.proxy.engine.deadlines import Deadlines
from penstock.proxy.engine.fail_closed import Hooks
from penstock.proxy.engine.runtime import Callbacks, Runtime
from penstock.proxy.settings import EngineSettings, Limits


def test_the_check_is_dropped_from_the_core_we_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract: the installed core's check is the one that was read."""
    monkeypatch.setattr(http.MessageData, "__post_init__", http.MessageData.__post_init__)
    assert speed.drop_message_checks()
    assert speed.drop_message_checks()  # twice does not matter
    assert http.Response.make(200, b"x").raw_content == b"x"


def test_an_unknown_check_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only speed is at stake: stock behaviour is the fall-back."""

    def another(self: http.MessageData) -> None:
        raise TypeError

    monkeypatch.setattr(http.MessageData, "__post_init__", another)
    assert not speed.drop_message_checks()
    with pytest.raises(TypeError):
        http.Response.make(200, b"x")


@pytest.fixture
def quick() -> Iterator[None]:
    """The quick look-up, taken back after the test."""
    stock = dict(vars(http.Headers))
    assert speed.quicken_header_lookup()
    yield
    http.Headers.get_all = stock["get_all"]  # type: ignore[method-assign]
    for name in ("get", "__contains__"):
        if name in stock:
            setattr(http.Headers, name, stock[name])
        else:
            delattr(http.Headers, name)


NAMES = ["Host", "host", "X-A", "x-a", "X\u00e4", ""]


@given(
    fields=st.lists(
        st.tuples(st.sampled_from([b"Host", b"hOST", b"X-A", b"x-a", b"", "X\u00c4".encode()]),
                  st.binary(max_size=5)), max_size=6
    )
)  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_quick_lookup_finds_what_the_stock_one_finds(
    quick: None, fields: list[tuple[bytes, bytes]]
) -> None:
    """Any headers, any name: same values, same order, same folding."""
    headers = http.Headers(fields)
    for name in NAMES:
        stock = [
            value.decode("utf-8", "surrogateescape")
            for value in MultiDict.get_all(headers, name.encode())  # type: ignore[arg-type]
        ]
        assert headers.get_all(name) == stock
        assert headers.get(name) == (", ".join(stock) if stock else None)
        assert (name in headers) == bool(stock)
        assert headers.get(name.encode(), "none") == (", ".join(stock) if stock else "none")


def test_an_unknown_lookup_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock behaviour is the fall-back here too."""

    def another(self: http.Headers, name: str) -> list[str]:
        return ["another"]

    monkeypatch.setattr(http.Headers, "get_all", another)
    assert not speed.quicken_header_lookup()
    assert http.Headers().get_all("x") == ["another"]


class Writer:
    """Records what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.calls: list[str] = []

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def write_eof(self) -> None:
        self.written.append(b"<eof>")


class Scripted:
    """A layer that answers every event with a list of commands."""

    def __init__(self, *answers: list[commands.Command]) -> None:
        self.answers = list(answers)
        self.seen: list[events.Event] = []

    def handle_event(self, event: events.Event) -> Any:
        self.seen.append(event)
        answer = self.answers.pop(0) if self.answers else []
        if answer and isinstance(answer[0], BaseException):
            raise answer[0]
        yield from answer


class Recorder:
    """An addon with a plain and a waiting hook."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def requestheaders(self, flow: object) -> None:
        self.called.append("requestheaders")

    async def request(self, flow: object) -> None:
        self.called.append("request")
        await asyncio.sleep(0.01)
        self.called.append("waited")


def make(tmp_path: Any, *addons: object) -> tuple[Handler, Writer, Runtime]:
    runtime = Runtime(EngineSettings(tmp_path), Callbacks(), Deadlines(Limits()))
    options = Options()
    options.add_option("proxy_debug", bool, False, "")
    master: Any = SimpleNamespace(options=options, addons=SimpleNamespace(chain=list(addons)))
    writer: Any = Writer()
    handler = Handler(
        master,
        writer,
        writer,
        mode_specs.ProxyMode.parse("regular"),
        runtime,
        Hooks(master, runtime),
    )
    return handler, writer, runtime


def flow_hook(name: str) -> Any:
    from mitmproxy.proxy.layers.http import HttpRequestHeadersHook, HttpRequestHook

    made = {"request": HttpRequestHook, "requestheaders": HttpRequestHeadersHook}[name]
    return made(SimpleNamespace(metadata={}))  # type: ignore[arg-type]


async def test_pieces_for_one_peer_leave_in_one_write(tmp_path: Any) -> None:
    """Head and body in one packet, in order; closing comes after."""
    handler, writer, _ = make(tmp_path)
    client = handler.client
    handler.layer = Scripted(  # type: ignore[assignment]
        [
            commands.SendData(client, b"head "),
            commands.SendData(client, b"body"),
            commands.CloseTcpConnection(client, half_close=True),
            commands.SendData(client, b"too late"),
        ]
    )
    await handler.server_event(events.Start())
    assert writer.written == [b"head body", b"<eof>"]


async def test_plain_hooks_complete_within_the_event(tmp_path: Any) -> None:
    """No task and no turn of the loop; the layer gets its completion in order."""
    addon = Recorder()
    handler, writer, _ = make(tmp_path, addon)
    hook = flow_hook("requestheaders")
    layer = Scripted([hook], [commands.SendData(handler.client, b"after")])
    handler.layer = layer  # type: ignore[assignment]
    await handler.server_event(events.Start())
    assert addon.called == ["requestheaders"]
    assert isinstance(layer.seen[1], events.HookCompleted)
    assert layer.seen[1].command is hook
    assert writer.written == [b"after"]


async def test_waiting_hooks_complete_later(tmp_path: Any) -> None:
    """The event returns at once; completion arrives when the hook is done."""
    addon = Recorder()
    handler, _, _ = make(tmp_path, addon)
    layer = Scripted([flow_hook("request")])
    handler.layer = layer  # type: ignore[assignment]
    await handler.server_event(events.Start())
    assert len(layer.seen) == 1
    await asyncio.sleep(0.05)
    assert addon.called == ["request", "waited"]
    assert isinstance(layer.seen[1], events.HookCompleted)


async def test_an_error_in_the_core_closes_the_connection(tmp_path: Any) -> None:
    """The stock core would leave the client hanging."""
    handler, _, runtime = make(tmp_path)
    cancelled: list[str] = []
    task: Any = SimpleNamespace(cancel=lambda reason: cancelled.append(reason))
    io = handler.transports[handler.client]
    handler.transports[handler.client] = ConnectionIO(task, io.reader, io.writer)
    handler.layer = Scripted([AssertionError("sk-secret")])  # type: ignore[list-item,assignment]
    await handler.server_event(events.Start())
    assert cancelled == ["closed by command"]
    assert handler.client.state is ConnectionState.CLOSED
    assert runtime.failures["core:deny"] == 1


def test_clients_compare_by_identity() -> None:
    """What the write buffer relies on: one entry per connection."""
    made = [
        Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), timestamp_start=0)
        for _ in range(2)
    ]
    assert made[0] != made[1]
    assert len({made[0], made[1], made[0]}) == 2
