"""What it costs to tell which local process opened a connection, among many processes.

Processes that do nothing stand for a laptop's: each holds some descriptors. CPU of the
searching process and of the kernel on its behalf, median of many connections.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "addons"))

from penstock.caller.process import ProcessFinder

PROCESSES, DESCRIPTORS, CONNECTIONS = 300, 40, 60


def idle(descriptors: int) -> int:
    """A process with open descriptors that waits for its end; its number."""
    child = os.fork()
    if child:
        return child
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(descriptors)]
    while held:
        signal.pause()
    os._exit(0)


def connecting(port: int, count: int) -> int:
    """A process that opens connections to the port and waits for its end; its number."""
    child = os.fork()
    if child:
        return child
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    while held:
        signal.pause()
    os._exit(0)


def timed(connections: list[socket.socket], find: Callable[[socket.socket], int]) -> float:
    """Milliseconds of CPU for each, median; fails where one is not found."""
    spent = []
    for connection in connections:
        began = time.process_time_ns()
        pid = find(connection)
        spent.append((time.process_time_ns() - began) / 1e6)
        assert pid, "a process was not found"
    return round(statistics.median(spent), 3)


def measured() -> dict[str, float]:
    children = []
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            port = listener.getsockname()[1]
            # An agent that was there before everything else: the last to be looked at.
            children.append(connecting(port, CONNECTIONS))
            agent = [listener.accept()[0] for _ in range(CONNECTIONS)]
            children += [idle(DESCRIPTORS) for _ in range(PROCESSES)]
            fresh = []
            for _ in range(CONNECTIONS):
                children.append(connecting(port, 1))
                fresh.append(listener.accept()[0])
            return rows(agent, fresh)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def rows(agent: list[socket.socket], fresh: list[socket.socket]) -> dict[str, float]:
    finder = ProcessFinder()

    def known(connection: socket.socket) -> int:
        found = finder.at_once(connection.getpeername(), connection.getsockname())
        return found.pid if found else 0

    def unknown(connection: socket.socket) -> int:
        found = ProcessFinder().find(connection.getpeername(), connection.getsockname())
        return found.pid if found else 0

    finder.find(agent[0].getpeername(), agent[0].getsockname())
    return {
        "known process, on the loop": timed(agent, known),
        "process never seen, the newest": timed(fresh[-1:] * CONNECTIONS, unknown),
        "process never seen, the oldest of all": timed(agent, unknown),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    result = measured()
    if parser.parse_args().json:
        print(json.dumps(result, indent=2))
        return
    print(f"{PROCESSES} processes with {DESCRIPTORS} descriptors each; CPU ms for a connection")
    for label, value in result.items():
        print(f"| {label} | {value:.3f} |")


if __name__ == "__main__":
    main()
