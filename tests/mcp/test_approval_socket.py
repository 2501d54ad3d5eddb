"""The admin socket: a person's answer wakes who waits, in any process; nobody else is heard."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.cli.approval_desk import Desk
from penstock.mcp import approvals as module
from penstock.mcp.approvals import APPROVALS, Approval, Approvals
from penstock.proxy.control import local_socket
from penstock.proxy.control.approval_socket import BODY_BYTES_MAX, ApprovalSocket

TICKET = "0123456789abcdef"
# Long enough that only a call that is woken gets its answer in a test.
NEVER_SECONDS = 600.0
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
NOBODY = 65534


def approval(ticket: str = TICKET) -> Approval:
    return Approval(ticket, "https://s/mcp", "pay", ("amount",), "mia", "r", time.time() + 60)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def only_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_WITH_SOCKET_SECONDS", NEVER_SECONDS)


@pytest.fixture
async def two(
    tmp_path: Path, told: list[str]
) -> AsyncIterator[list[tuple[Approvals, ApprovalSocket]]]:
    """Two processes of one state directory, as far as files and sockets go."""
    made = []
    for _ in range(2):
        store = Approvals(tmp_path / APPROVALS)
        served = ApprovalSocket(store, tmp_path / local_socket.FOLDER, told.append)
        await served.start()
        made.append((store, served))
    yield made
    for _, served in made:
        await served.stop()
    assert local_socket.found(tmp_path / local_socket.FOLDER) == []


async def held(store: Approvals) -> asyncio.Task[str | None]:
    """A call that waits."""
    store.ask(approval())
    waiting = asyncio.create_task(store.wait(TICKET, NEVER_SECONDS, lambda: False))
    while TICKET not in store.waited_for:
        await asyncio.sleep(0)
    return waiting


@pytest.mark.parametrize("holder", [0, 1])
@pytest.mark.parametrize(("answer", "standing"), [("approve", "approved"), ("deny", "denied")])
async def test_an_answer_wakes_the_call_in_whichever_process(
    two: list[tuple[Approvals, ApprovalSocket]],
    tmp_path: Path,
    told: list[str],
    holder: int,
    answer: str,
    standing: str,
) -> None:
    """The process that holds the call is asked first; who answered, and why, is with the ticket."""
    waiting = await held(two[holder][0])
    desk = Desk(tmp_path)
    (row,) = await asyncio.to_thread(desk.rows)
    assert row["held"] and row["tool"] == "pay"
    found = await asyncio.to_thread(desk.answer, TICKET, answer, "Mia", "INC-4711")
    assert found is not None and found["standing"] == standing
    assert await asyncio.wait_for(waiting, 20) == standing
    kept = two[0][0].get(TICKET)
    assert kept is not None and kept.by is not None
    assert (kept.by.uid, kept.by.name, kept.by.reason) == (os.geteuid(), "Mia", "INC-4711")
    assert len(told) == 1 and TICKET in told[0] and "INC" not in told[0]


async def test_a_process_that_was_not_asked_hears_of_it(
    two: list[tuple[Approvals, ApprovalSocket]], tmp_path: Path
) -> None:
    """Two processes hold the same call; both are woken by one answer, and one may go on."""
    both = [await held(store) for store, _ in two]
    await asyncio.to_thread(Desk(tmp_path).answer, TICKET, "approve")
    assert await asyncio.wait_for(asyncio.gather(*both), 20) == ["approved"] * 2
    assert [store.use(TICKET) is not None for store, _ in two] == [True, False]


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/", b"", 404),
        ("GET", f"/approvals/{TICKET}/approve", b"", 405),
        ("POST", f"/approvals/{TICKET}/maybe", b"{}", 400),
        ("POST", f"/approvals/{TICKET}/approve", b"[]", 400),
        ("POST", f"/approvals/{TICKET}/approve", b"{", 400),
        ("POST", f"/approvals/{TICKET}/approve", b'{"uid": "0"}', 400),
        ("POST", f"/approvals/{TICKET}/approve", b'{"name": 1}', 400),
        ("POST", f"/approvals/{TICKET}/approve", b'{"reason": "%s"}' % (b"x" * 201), 400),
        ("POST", f"/approvals/{TICKET}/approve", b" " * (BODY_BYTES_MAX + 1), 400),
        ("POST", "/approvals/..%2F..%2Fx/approve", b"{}", 404),
        ("POST", "/approvals/ffffffffffffffff/approve", b"{}", 404),
    ],
)
async def test_what_is_no_answer_changes_nothing(
    two: list[tuple[Approvals, ApprovalSocket]], method: str, target: str, body: bytes, status: int
) -> None:
    two[0][0].ask(approval())

    def said() -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(two[0][1].path))
            head = f"{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            return int(connection.recv(4096).split()[1])

    assert await asyncio.to_thread(said) == status
    kept = two[0][0].get(TICKET)
    assert kept is not None and kept.standing == "open"


async def test_only_the_user_may_enter(
    two: list[tuple[Approvals, ApprovalSocket]], tmp_path: Path
) -> None:
    for path, wanted in (
        (tmp_path / local_socket.FOLDER, 0o700),
        (two[0][1].path, 0o600),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == wanted


@AS_ROOT
async def test_the_kernel_says_who_is_there(
    two: list[tuple[Approvals, ApprovalSocket]],
) -> None:
    """Another user who can reach the socket all the same is not heard; root is."""
    two[0][0].ask(approval())
    path = two[0][1].path
    path.chmod(0o666)
    path.parent.chmod(0o777)
    folder = os.open(path.parent, os.O_PATH)
    program = (
        "import os, sys; from pathlib import Path\n"
        "from penstock.proxy.control import local_socket\n"
        f"os.setuid({NOBODY})\n"
        f"path = Path('/proc/self/fd/{folder}/{path.name}')\n"
        f"print(local_socket.ask(path, 'POST', '/approvals/{TICKET}/approve', {{}}))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), pass_fds=(folder,), stdout=subprocess.PIPE
    )
    os.close(folder)
    out, _ = await process.communicate()
    assert b"status=403" in out, out
    kept = two[0][0].get(TICKET)
    assert kept is not None and kept.standing == "open"


@AS_ROOT
def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    """Whoever owns the folder could put a yes into it."""
    for name in (APPROVALS, local_socket.FOLDER):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="not a folder of this user's"):
        local_socket.listen(tmp_path / local_socket.FOLDER)
    with pytest.raises(PermissionError):
        Approvals(tmp_path / APPROVALS).ask(approval())


@AS_ROOT
def test_root_answers_in_files_the_proxy_can_read(tmp_path: Path) -> None:
    store = Approvals(tmp_path / APPROVALS)
    store.ask(approval())
    os.chown(store.folder, NOBODY, NOBODY)
    assert Desk(tmp_path).answer(TICKET, "approve") is not None
    assert {file.stat().st_uid for file in store.folder.glob("*.json")} == {NOBODY}


def test_a_folder_that_others_can_enter_is_closed(tmp_path: Path) -> None:
    """A volume's mount options or an umask may have opened it."""
    (tmp_path / APPROVALS).mkdir(mode=0o777)
    (tmp_path / APPROVALS).chmod(0o777)
    Approvals(tmp_path / APPROVALS).ask(approval())
    assert stat.S_IMODE((tmp_path / APPROVALS).stat().st_mode) == 0o700


LISTENING = """
import sys, time
from pathlib import Path
from penstock.proxy.control import local_socket
kept = local_socket.listen(Path(sys.argv[1]))
print(flush=True)
time.sleep(600)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The folder in which a process listened until it was killed."""
    folder = tmp_path / local_socket.FOLDER
    process = listening(folder)
    process.kill()
    process.wait()
    assert len(local_socket.found(folder)) == 1
    return folder


def listening(folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENING, str(folder)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_what_a_killed_process_left_is_removed_and_no_hindrance(
    killed: Path, tmp_path: Path
) -> None:
    """The answer goes into the files, where the next process finds it."""
    store = Approvals(tmp_path / APPROVALS)
    store.ask(approval())
    found = Desk(tmp_path).answer(TICKET, "approve")
    assert found is not None and store.approved(TICKET)
    assert local_socket.found(killed) == []


def test_a_new_process_removes_what_a_killed_one_left(killed: Path) -> None:
    listener, path = local_socket.listen(killed)
    listener.close()
    assert local_socket.found(killed) == [path]


def test_a_stopped_process_is_told_of_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not told the answer, which it would give a second time when it goes on."""
    monkeypatch.setattr(local_socket.ask, "__defaults__", (None, 0.2))
    store = Approvals(tmp_path / APPROVALS)
    store.ask(approval())
    process = listening(tmp_path / local_socket.FOLDER)
    try:
        process.send_signal(signal.SIGSTOP)
        assert Desk(tmp_path).answer(TICKET, "deny") is not None
    finally:
        process.kill()
        process.wait()
    assert "does not answer" in capsys.readouterr().err
    kept = store.get(TICKET)
    assert kept is not None and kept.standing == "denied"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
async def test_a_long_state_directory_is_no_hindrance(tmp_path: Path, told: list[str]) -> None:
    """A socket's address has 108 bytes, a state directory may have more."""
    state = tmp_path / ("x" * 120)
    store = Approvals(state / APPROVALS)
    served = ApprovalSocket(store, state / local_socket.FOLDER, told.append)
    await served.start()
    waiting = await held(store)
    assert await asyncio.to_thread(Desk(state).answer, TICKET, "approve")
    assert await asyncio.wait_for(waiting, 20) == "approved"
    await served.stop()
    assert local_socket.found(state / local_socket.FOLDER) == []


def test_where_no_long_address_can_be_had_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OSError, match="choose a shorter --state-dir"):
        local_socket.listen(tmp_path / ("x" * 120))


@AS_ROOT
def test_a_user_who_may_not_is_told_who_may(tmp_path: Path) -> None:
    """The command of another user, to whom the state directory is closed."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    Approvals(state / APPROVALS).ask(approval())
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    program = (
        "import os, sys; from pathlib import Path; import click\n"
        "from penstock.cli.approval_desk import Desk\n"
        f"os.setuid({NOBODY})\n"
        f"try: Desk(Path({str(state)!r})).answer({TICKET!r}, 'approve')\n"
        "except click.ClickException as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "as root" in done.stdout, done
    kept = json.loads((state / APPROVALS / f"{TICKET}.json").read_text())
    assert kept["standing"] == "open"
