"""The second look by itself: a thread, the real plug-ins in their process, bounds, ends."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.detect import Detectors
from penstock.detect.hindsight import second_look
from penstock.detect.hindsight.second_look import Late, SecondLook, pieces
from penstock.detect.placeholders import Vault
from penstock.exchange import Finding

# What only a plug-in for words beside values knows.
VALUE = "Hunter2xyzzy99"
LEAVES = f'if (the_secret === "{VALUE}") open();'
SECONDS = 30.0


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def unread(process: Any) -> int:
    """Bytes that wait in the pipe to a process (FIONREAD, ioctl_tty(2))."""
    answer = fcntl.ioctl(process.stdin.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


class Looking:
    """A second look and what it told."""

    def __init__(self, known: Callable[..., Sequence[Finding]] | None = None) -> None:
        self.told: list[Late] = []
        self.learned: list[str] = []
        scan = known or Detectors(["secret"]).scan
        self.look = SecondLook(b"key", scan, self.told.append, self.learn)

    def learn(self, value: str) -> bool:
        self.learned.append(value)
        return True

    def at(self, *texts: str, call: str = "c0ffee") -> None:
        self.look.look(call, [(text, "user") for text in texts])
        eventually(lambda: self.look.waiting == 0)

    @property
    def process(self) -> Any:
        return self.look._process


@pytest.fixture
def looking() -> Iterator[Looking]:
    made = Looking()
    yield made
    made.look.close(0)


def test_a_value_only_a_plug_in_knows_is_told_by_its_beginning_and_length(
    looking: Looking,
) -> None:
    looking.at("nothing here", LEAVES)
    detector = "detect-secrets:KeywordDetector"
    assert looking.told == [Late("c0ffee", "user", detector, "Hun", len(VALUE), remembered=True)]
    assert looking.learned == [VALUE]
    assert VALUE not in repr(looking.told)
    assert (looking.look.looked_at, looking.look.found) == (2, 1)


def test_a_text_that_comes_again_is_not_looked_at_again(looking: Looking) -> None:
    looking.at(LEAVES, "one", "one")
    looking.at(LEAVES, "one", "two", call="next turn")
    assert looking.look.looked_at == 3
    assert len(looking.told) == 1


def test_what_our_own_rules_know_and_placeholders_are_not_told(looking: Looking) -> None:
    """Found in time, or never there."""
    key = "AKIA" + "QRSTUVWX2345MNOP"
    sealed = Vault(b"key" * 16).seal("secret.password", VALUE, "caller")
    looking.at(f"the_secret === '{key}'", f"the_secret === '{sealed}'")
    assert looking.look.looked_at == 2
    assert looking.told == []


def test_strings_that_merely_look_random_are_not_told(looking: Looking) -> None:
    looking.at("blob = 'x" + "Jq3vT9bLw2Rk7Zp5Nf8Hc4Md6Gs1Yx" * 2 + "'")
    assert looking.look.looked_at == 1 and looking.told == []


def test_calls_that_do_not_fit_are_counted_and_wait_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In bytes and in number, while the process is busy."""
    monkeypatch.setattr(second_look, "WAITING_CHARACTERS_MAX", 10_000)
    monkeypatch.setattr(second_look, "WAITING_CALLS_MAX", 3)
    go = threading.Event()

    def known(text: str, zone: str) -> list[Finding]:
        go.wait(SECONDS)
        return []

    looking = Looking(known)
    looking.look.look("held", [(LEAVES, "user")])
    eventually(lambda: looking.process is not None)
    looking.look.look("large", [("x" * 10_000, "user")])
    assert looking.look.left_out == 1
    looking.look.look("second", [("a", "user")])
    looking.look.look("third", [("b", "user")])
    began = time.thread_time()
    looking.look.look("fourth", [("c", "user")])
    assert time.thread_time() - began < 0.01
    assert (looking.look.left_out, looking.look.waiting) == (2, 3)
    go.set()
    looking.look.close()
    assert looking.look.looked_at == 3 and looking.look.waiting == 0


def test_a_process_that_dies_is_counted_and_started_again(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "PAUSE_SECONDS", 0.0)
    looking.at("first")
    os.kill(looking.process.pid, signal.SIGSTOP)
    looking.look.look("c", [("second", "user")])
    eventually(lambda: unread(looking.process) > 0)
    os.kill(looking.process.pid, signal.SIGKILL)
    eventually(lambda: looking.look.waiting == 0)
    looking.at("third", LEAVES, "second")
    assert looking.look.failed == 1
    assert looking.look.looked_at == 4, "what failed is looked at when it comes again"
    assert len(looking.told) == 1


def test_a_process_that_hangs_is_ended(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    looking.at("first")
    monkeypatch.setattr(second_look, "PIECE_SECONDS", 0.2)
    process = looking.process
    os.kill(process.pid, signal.SIGSTOP)
    looking.at("second")
    assert looking.look.failed == 1
    assert process.poll() is not None
    looking.at("third")  # not started again at once
    assert looking.look.failed == 2


def test_closing_looks_at_what_waits_and_leaves_no_process(looking: Looking) -> None:
    looking.at("first")
    process = looking.process
    for number in range(50):
        looking.look.look("c", [(f"{number}: {LEAVES}", "user")])
    looking.look.close()
    assert len(looking.told) == 50
    assert process.poll() is not None
    assert not looking.look._thread.is_alive()


def test_closing_waits_no_longer_than_it_is_told(looking: Looking) -> None:
    """What is left is counted, not looked at."""
    looking.at("first")
    process = looking.process
    os.kill(process.pid, signal.SIGSTOP)
    for number in range(5):
        looking.look.look("c", [(f"text {number}", "user")])
    looking.look.close(0.1)
    eventually(lambda: not looking.look._thread.is_alive())
    assert looking.look.failed + looking.look.left_out == 5
    assert process.poll() is not None


def test_the_process_has_the_lowest_priority_and_nothing_of_our_environment(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", VALUE)
    looking.at("first")
    assert os.getpriority(os.PRIO_PROCESS, looking.process.pid) == 19
    assert Path(f"/proc/{looking.process.pid}/environ").read_bytes() == b""
    assert os.getsid(looking.process.pid) != os.getsid(0)


def test_large_texts_are_looked_at_in_pieces_of_whole_lines(looking: Looking) -> None:
    lines = [f"line {number} of many words" for number in range(20_000)]
    lines[15_000] = LEAVES
    text = "\n".join(lines)
    cut = list(pieces(text))
    assert len(cut) > 5 and all(piece.endswith("\n") for piece in cut[:-1])
    assert "".join(cut) == text
    looking.at(text)
    assert [one.length for one in looking.told] == [len(VALUE)]
    long = "x" * 200_000
    assert list(pieces(f"a\n{long}\nb")) == ["a\n", "b"]
