"""The local process behind a connection: real sockets, a made-up /proc, hostile tables."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.caller.process import ProcessFinder

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
CHILD = "import socket,sys; s=socket.create_connection(({!r},{})); sys.stdin.read()"


@contextmanager
def connected_child(family: int, host: str, target: str) -> Iterator[tuple[int, tuple[str, int]]]:
    """A child process with one connection to us: its pid and its end's address."""
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        code = CHILD.format(target, listener.getsockname()[1])
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        try:
            connection, address = listener.accept()
            with connection:
                yield child.pid, (address[0], address[1])
        finally:
            child.communicate()


@needs_linux
@pytest.mark.parametrize(
    ("family", "host", "target"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_a_real_connection_leads_to_its_process(family: int, host: str, target: str) -> None:
    """IPv4, IPv6 and IPv4 seen as mapped IPv6 all find the child, its program and its user."""
    with connected_child(family, host, target) as (pid, address):
        found = ProcessFinder().find(address)
    assert found is not None
    assert found.pid == pid
    assert found.path == str(Path(sys.executable).resolve())
    assert found.name == Path(sys.executable).resolve().name
    assert found.user


def test_a_process_found_once_is_looked_at_first(tmp_path: Path) -> None:
    """An agent opens many connections: later ones are found without walking all processes."""
    proc = fake_proc(tmp_path, HEAD + ROW.format(os.getuid()))
    finder = ProcessFinder(proc)
    first = finder.find(("127.0.0.1", 50_000))
    for number in range(500, 600):
        (proc / str(number) / "fd").mkdir(parents=True)
        (proc / str(number) / "fd" / "3").symlink_to("socket:[777]")
        (proc / str(number) / "comm").write_text("other")
    assert first is not None and finder.find(("127.0.0.1", 50_000)) == first
    other = ProcessFinder(proc).find(("127.0.0.1", 50_000))
    assert other is not None and other.pid == 599  # a finder without memory starts at the newest


@needs_linux
@pytest.mark.parametrize(
    "address", [("192.0.2.1", 50_000), ("127.0.0.1", 1), ("not an address", 1), ("::1%lo", 2)]
)
def test_an_unknown_address_has_no_process(address: tuple[str, int]) -> None:
    """A remote peer, a free port and nonsense give None without an error."""
    assert ProcessFinder().find(address) is None


def fake_proc(folder: Path, table: str) -> Path:
    """A /proc with one process (pid 42, ours) holding socket 777."""
    (folder / "net").mkdir(parents=True)
    (folder / "net" / "tcp").write_text(table)
    process = folder / "42"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "3").symlink_to("socket:[777]")
    (process / "fd" / "4").symlink_to("pipe:[1]")
    (process / "comm").write_text("node\n")
    return folder


ROW = "   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 {} 0 777 1 x\n"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def test_the_name_comes_from_comm_where_the_executable_is_not_readable(tmp_path: Path) -> None:
    """Another user's process has no readable exe link; its short name still helps."""
    proc = fake_proc(tmp_path, HEAD + ROW.format(os.getuid()))
    found = ProcessFinder(proc).find(("127.0.0.1", 50_000))
    assert found is not None
    assert (found.pid, found.name, found.path) == (42, "node", None)


@pytest.mark.parametrize(
    "table",
    [
        "",
        HEAD,
        HEAD + "   1: 0100007F:C350 \n",
        HEAD + ROW.format(0).replace(" 777 ", " x ").replace(" 01 ", " 0A "),
        HEAD + "   1: 0100007F:C350 0100007F:1F90 01 0:0 0:0 0 zz 0 777 1\n",
        HEAD + ROW.format(65533),
        HEAD + ROW.format(os.getuid()).rstrip("\n"),
    ],
)
def test_a_table_that_makes_no_sense_gives_none(tmp_path: Path, table: str) -> None:
    """Truncated, listening-only, unparsable rows and a foreign owner find nothing."""
    assert ProcessFinder(fake_proc(tmp_path, table)).find(("127.0.0.1", 50_000)) is None


def test_without_proc_there_is_no_answer(tmp_path: Path) -> None:
    """On a system without /proc every question is answered None."""
    assert ProcessFinder(tmp_path / "nowhere").find(("127.0.0.1", 50_000)) is None
