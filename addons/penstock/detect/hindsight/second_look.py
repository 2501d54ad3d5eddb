"""Texts that have left, looked at again by detect-secrets' plug-ins: what was found too late.

A thread takes calls from a bounded queue and asks a process of the lowest priority
(``deep_process``), text by text; nobody waits for it, and what does not fit is counted. Texts
are remembered by keyed hash, so a conversation that is sent again costs its hashes, in the
thread. What is told of a value is its first characters and its length.
"""

from __future__ import annotations

import json
import logging
import select
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from queue import SimpleQueue

from penstock.detect.calls import CANDIDATE
from penstock.detect.hindsight.process import read_frame, write_frame
from penstock.detect.overlaps import outside_placeholders
from penstock.exchange import Finding, Zone

logger = logging.getLogger(__name__)

# What may wait: some eighty turns of a long agent conversation. For more there is no time.
WAITING_CHARACTERS_MAX = 16 * 1024 * 1024
WAITING_CALLS_MAX = 1000
# Texts known to have been looked at (about 100 bytes each).
SEEN_MAX = 32_768
# What is looked at in one go takes a tenth of a second; waiting for it a minute, where every
# other process of the machine goes first.
PIECE_CHARACTERS = 64 * 1024
PIECE_SECONDS = 60.0
# A process that could not be started, or died, is not started again at once.
PAUSE_SECONDS = 5.0
# Values told of one text: more of them are a list of examples.
TOLD_MAX = 50
SHOWN_CHARACTERS = 3
# Not a value but the line that begins one; the whole key is found by our own rules.
NO_VALUES = frozenset(["PrivateKeyDetector"])
DRAIN_SECONDS = 5.0
DIGEST_BYTES = 16

Texts = Sequence[tuple[str, Zone]]


@dataclass(slots=True, frozen=True)
class Late:
    """A value found after it had left with a call; never the value."""

    call_id: str
    zone: Zone
    detector: str
    begins: str
    length: int
    remembered: bool = False


class SecondLook:
    """One thread and one process. ``known`` finds what needs no telling; ``learn`` remembers a
    value and says whether it did; ``tell`` hears of each."""

    def __init__(
        self,
        key: bytes,
        known: Callable[[str, Zone], Sequence[Finding]],
        tell: Callable[[Late], None],
        learn: Callable[[str], bool],
    ) -> None:
        self._key = key[:64]
        self._known = known
        self._tell = tell
        self._learn = learn
        self._queue: SimpleQueue[tuple[str, Texts, int] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting_calls = self._waiting_characters = 0
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._process: subprocess.Popen[bytes] | None = None
        self._again_at = 0.0
        self._closing = False
        self.looked_at = self.found = 0  # texts, values
        self.left_out = self.failed = 0  # calls that did not fit, texts that could not be looked at
        self._thread = threading.Thread(target=self._run, name="second-look", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Calls that wait to be looked at."""
        return self._waiting_calls

    def look(self, call_id: str, texts: Texts) -> None:
        """Have these texts looked at when there is time. Never waits."""
        size = sum(len(text) for text, _ in texts)
        with self._lock:
            full = self._waiting_calls >= WAITING_CALLS_MAX
            if full or self._waiting_characters + size > WAITING_CHARACTERS_MAX:
                self.left_out += 1
                return
            self._waiting_calls += 1
            self._waiting_characters += size
        self._queue.put((call_id, texts, size))

    def close(self, seconds: float = DRAIN_SECONDS) -> None:
        """Look at what waits, for so long at most; what is left then is counted."""
        self._queue.put(None)
        self._thread.join(seconds)
        self._closing = True
        self._end_process()
        self._thread.join(seconds)

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            call_id, texts, size = call
            if self._closing:
                self.left_out += 1
            else:
                self._look_into(call_id, texts)
            with self._lock:
                self._waiting_calls -= 1
                self._waiting_characters -= size
        self._end_process()

    def _look_into(self, call_id: str, texts: Texts) -> None:
        for text, zone in texts:
            data = text.encode("utf-8", "surrogatepass")
            digest = blake2b(data, digest_size=DIGEST_BYTES, key=self._key).digest()
            if digest in self._seen:
                self._seen.move_to_end(digest)
                continue
            try:
                self._report(call_id, text, zone)
            except Exception as error:  # noqa: BLE001  the thread goes on with the next text
                self.failed += 1
                self._end_process()
                self._again_at = time.monotonic() + PAUSE_SECONDS
                if not self._closing:
                    logger.warning("a second look failed: %s", type(error).__name__)
                continue
            self._seen[digest] = None
            if len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)

    def _report(self, call_id: str, text: str, zone: Zone) -> None:
        told = 0
        for piece in pieces(text):
            new: list[Finding] = []
            found = [
                Finding(CANDIDATE, start, end, 1.0, plugin)
                for start, end, plugin in self._asked(piece)
                if plugin not in NO_VALUES
            ]
            known = self._known(piece, zone) if found else ()
            for one in outside_placeholders(found, piece):
                if not any(two.start < one.end and one.start < two.end for two in (*known, *new)):
                    new.append(one)
            self.found += len(new)
            for one in new[: TOLD_MAX - told]:
                value = piece[one.start : one.end]
                self._tell(late(call_id, zone, one.detector, value, self._learn(value)))
                told += 1
        self.looked_at += 1

    def _asked(self, text: str) -> list[tuple[int, int, str]]:
        process = self._started()
        assert process.stdin is not None and process.stdout is not None  # both are pipes
        write_frame(process.stdin, text.encode("utf-8", "surrogatepass"))
        if not select.select([process.stdout], [], [], PIECE_SECONDS)[0]:
            raise TimeoutError
        answer = read_frame(process.stdout)
        if answer is None:
            raise EOFError
        return [(start, end, plugin) for start, end, plugin in json.loads(answer)]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            if self._closing or time.monotonic() < self._again_at:
                raise ProcessLookupError
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "penstock.detect.hindsight.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},  # nothing of ours is its business
                start_new_session=True,  # a signal from the terminal is for the proxy
            )
        return self._process

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of whole lines: plug-ins read line by line."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        end = text.rfind("\n", start, start + PIECE_CHARACTERS) + 1
        if end > start:
            yield text[start:end]
        else:  # a longer line is data, and looked at by nobody
            end = text.find("\n", start) + 1 or len(text)
        start = end
    yield text[start:]


def late(call_id: str, zone: Zone, plugin: str, value: str, remembered: bool) -> Late:
    """What may be said of a value."""
    shown = SHOWN_CHARACTERS if len(value) > 4 * SHOWN_CHARACTERS else 1
    detector = f"detect-secrets:{plugin}"
    return Late(call_id, zone, detector, value[:shown], len(value), remembered)
