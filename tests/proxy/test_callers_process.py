"""The process behind a connection, as Identify looks for it: at once, or one search for many."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

from penstock.exchange import Process
from penstock.proxy.addons.identify import Identify
from penstock.proxy.governance import Governance

AGENT = Process(pid=7, name="agent", path=None, user=None)


class Finder:
    """Finds the agent among all processes, and from then on at once."""

    def __init__(self, unknown: bool = False) -> None:
        self.unknown = unknown
        self.recent: Process | None = None
        self.searches = 0

    def at_once(self, client: Any, server: Any) -> Process | None:
        assert threading.current_thread() is threading.main_thread()
        assert (client, server) == (("127.0.0.1", client[1]), ("127.0.0.1", 8080))
        return self.recent

    def find(self, client: Any, server: Any) -> Process | None:
        assert threading.current_thread() is not threading.main_thread()
        self.searches += 1
        time.sleep(0.02)
        self.recent = None if self.unknown else AGENT
        return self.recent


def opened(finder: Finder, addresses: list[str]) -> Identify:
    """All these connect at the same time."""
    identify = Identify(cast(Governance, SimpleNamespace(processes=finder)))

    async def all_of_them() -> None:
        clients = [
            SimpleNamespace(
                id=str(port), peername=(address, port, 0, 0)[:2], sockname=("127.0.0.1", 8080)
            )
            for port, address in enumerate(addresses, 50_000)
        ]
        await asyncio.gather(*(identify.client_connected(cast(Any, one)) for one in clients))

    asyncio.run(all_of_them())
    return identify


def test_a_burst_of_connections_is_one_search() -> None:
    finder = Finder()
    identify = opened(finder, ["127.0.0.1"] * 20)
    assert list(identify.processes.values()) == [AGENT] * 20
    assert finder.searches == 1


def test_a_known_process_needs_no_search_and_no_thread() -> None:
    finder = Finder()
    finder.recent = AGENT
    assert list(opened(finder, ["127.0.0.1"]).processes.values()) == [AGENT]
    assert finder.searches == 0


def test_what_is_not_found_is_looked_for_each_time_and_remote_peers_never() -> None:
    finder = Finder(unknown=True)
    identify = opened(finder, ["127.0.0.1", "192.0.2.7", "127.0.0.1"])
    assert identify.processes == {"50000": None, "50002": None}
    assert finder.searches == 2
