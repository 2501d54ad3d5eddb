"""The local process behind a connection: real sockets, a made-up /proc, hostile tables."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.caller import process, socket_table
from penstock.caller.process import DESCRIPTORS_AT_ONCE, PROC, ProcessFinder
from penstock.caller.socket_table import socket_in_table, socket_of

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
CHILD = "import socket,sys; s=socket.create_connection(({!r},{})); sys.stdin.read()"


Address = tuple[str, int]


@contextmanager
def connected_child(family: int, host: str, target: str) -> Iterator[tuple[int, Address, Address]]:
    """A child process with one connection to us: its pid, its end's address and ours."""
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        code = CHILD.format(target, listener.getsockname()[1])
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        try:
            connection, address = listener.accept()
            with connection:
                ours = connection.getsockname()
                yield child.pid, (address[0], address[1]), (ours[0], ours[1])
        finally:
            child.communicate()


families = pytest.mark.parametrize(
    ("family", "host", "target"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)


@needs_linux
@families
@pytest.mark.parametrize("asks", ["sock_diag", "table", "table for want of sock_diag"])
def test_a_real_connection_leads_to_its_process(
    family: int, host: str, target: str, asks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPv4, IPv6 and IPv4 seen as mapped IPv6 all find the child, its program and its user."""
    if asks == "sock_diag":
        monkeypatch.setattr(process, "socket_in_table", fails)
    elif asks != "table":
        monkeypatch.setattr(socket_table, "NETLINK_SOCK_DIAG", 31)  # no such protocol
    with connected_child(family, host, target) as (pid, address, ours):
        found = ProcessFinder().find(address, ours if asks != "table" else None)
    assert found is not None
    assert found.pid == pid
    assert found.path == str(Path(sys.executable).resolve())
    assert found.name == Path(sys.executable).resolve().name
    assert found.user


def fails(*_arguments: object) -> None:
    raise AssertionError("the table was read")


@needs_linux
@families
def test_the_kernel_is_asked_about_this_very_connection(
    family: int, host: str, target: str
) -> None:
    """Another server, another port, a listener and a connection that is gone are nobody's."""
    with connected_child(family, host, target) as (_, address, ours):
        assert socket_of(address, ours) == socket_in_table(PROC, address)
        assert socket_of(address, (ours[0], ours[1] ^ 1)) is None
        assert socket_of((address[0], 1), ours) is None
        assert socket_of(ours, (address[0], 1)) is None, "the listener is no end of it"
    assert socket_of(address, ours) is None
    for nonsense in ((("nobody", 1), ours), (("::1", 1), ("127.0.0.1", 2)), (address, None)):
        with pytest.raises((OSError, ValueError)):
            socket_of(*nonsense)


@needs_linux
def test_a_process_that_called_lately_is_found_at_once() -> None:
    """And no other is looked for: that is ``find``'s."""
    finder = ProcessFinder()
    with connected_child(socket.AF_INET, "127.0.0.1", "127.0.0.1") as (pid, address, ours):
        assert finder.at_once(address, ours) is None
        found = finder.find(address, ours)
        assert found is not None and found.pid == pid
        assert finder.at_once(address, ours) == found
    assert finder.at_once(address, ours) is None, "the process is gone"


def test_the_number_of_a_process_is_not_trusted_when_it_is_used_again(tmp_path: Path) -> None:
    """What is remembered is only where to look first."""
    proc = fake_proc(tmp_path, HEAD + ROW.format(os.getuid()))
    finder = ProcessFinder(proc)
    assert finder.find(("127.0.0.1", 50_000)) is not None
    (proc / "42" / "fd" / "3").unlink()
    (proc / "42" / "fd" / "3").symlink_to("socket:[778]")
    assert finder.at_once(("127.0.0.1", 50_000)) is None
    (proc / "43" / "fd").mkdir(parents=True)
    (proc / "43" / "fd" / "9").symlink_to("socket:[777]")
    (proc / "43" / "comm").write_text("another")
    found = finder.find(("127.0.0.1", 50_000))
    assert found is not None and (found.pid, found.name) == (43, "another")


def test_short_lived_processes_do_not_make_an_agent_be_forgotten(tmp_path: Path) -> None:
    """A hundred calls of curl later it is still found at once."""
    proc = fake_proc(tmp_path, HEAD + ROW.format(os.getuid()))
    finder = ProcessFinder(proc)
    agent = finder.find(("127.0.0.1", 50_000))
    for number in range(1000, 1100):
        (proc / "42" / "fd" / "3").rename(proc / "held")
        (proc / str(number) / "fd").mkdir(parents=True)
        (proc / str(number) / "fd" / "3").symlink_to("socket:[777]")
        (proc / str(number) / "comm").write_text("curl")
        found = finder.find(("127.0.0.1", 50_000))
        assert found is not None and found.pid == number
        shutil.rmtree(proc / str(number))
        (proc / "held").rename(proc / "42" / "fd" / "3")
    assert agent is not None and finder.at_once(("127.0.0.1", 50_000)) == agent


def test_on_the_loop_few_descriptors_are_looked_at(tmp_path: Path) -> None:
    """A process with thousands of files open is left to the thread."""
    proc = fake_proc(tmp_path, HEAD + ROW.format(os.getuid()))
    finder = ProcessFinder(proc)
    assert finder.find(("127.0.0.1", 50_000)) is not None
    (proc / "42" / "fd" / "3").unlink()
    for number in range(10, 10 + 2 * DESCRIPTORS_AT_ONCE):
        (proc / "42" / "fd" / str(number)).symlink_to("/dev/null")
    assert finder.at_once(("127.0.0.1", 50_000)) is None
    assert finder.find(("127.0.0.1", 50_000)) is None
    (proc / "42" / "fd" / "10").unlink()
    (proc / "42" / "fd" / "10").symlink_to("socket:[777]")
    assert finder.find(("127.0.0.1", 50_000)) is not None


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
