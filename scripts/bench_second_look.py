"""Whether looking at texts that have left holds the loop: 5 MB of source code at a time.

The second look as the proxy runs it (a process of the lowest priority), and the same plug-ins
in a thread of the loop's process. The lag is how much later than asked a loop wakes up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "addons"))

from penstock.detect import Detectors
from penstock.detect.hindsight.plugins import forms, plugins
from penstock.detect.hindsight.second_look import SecondLook
from penstock.proxy.service import SWITCH_SECONDS

PROMPT_CHARACTERS = 5_000_000
TICK_SECONDS = 0.002
SECONDS = 6.0


def prompt() -> str:
    """Our own source code, a text like those agents send."""
    text = ""
    for path in sorted((Path(__file__).resolve().parent.parent / "addons").rglob("*.py")):
        text += path.read_text(encoding="utf-8")
    return (text * (PROMPT_CHARACTERS // len(text) + 1))[:PROMPT_CHARACTERS]


async def lags(busy: Callable[[], bool]) -> list[float]:
    """Milliseconds a loop woke up too late, in order, while something else was busy."""
    found, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end and busy():
        began = time.monotonic()
        await asyncio.sleep(TICK_SECONDS)
        found.append((time.monotonic() - began - TICK_SECONDS) * 1000)
    return sorted(found)


def row(found: list[float]) -> dict[str, float]:
    share = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {name: round(found[int(len(found) * part)], 2) for name, part in share.items()}


def measured() -> dict[str, dict[str, float]]:
    text = prompt()
    result = {"nothing": row(asyncio.run(lags(lambda: True)))}
    scan = Detectors(["secret"]).scan
    look = SecondLook(b"key", scan, lambda late: None, lambda value: False)
    look.look("warm", [("hello", "user")])
    while look.waiting:
        time.sleep(0.01)
    texts = [f"{number}\n{text}" for number in range(3)]
    began = time.thread_time()
    for one in texts:
        look.look("call", [(one, "user")])
    handed = (time.thread_time() - began) / len(texts)
    result["second look"] = row(asyncio.run(lags(lambda: look.waiting > 0)))
    look.close(0)
    result["second look"]["handing over, ms"] = round(handed * 1000, 3)
    plugins()
    thread = threading.Thread(target=lambda: forms(text), daemon=True)
    thread.start()
    result["the same in a thread"] = row(asyncio.run(lags(thread.is_alive)))
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["second look"]["CPU of its process, s"] = round(spent.ru_utime + spent.ru_stime, 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    result = measured()
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for name, values in result.items():
        print(f"{name}: " + ", ".join(f"{label} {value}" for label, value in values.items()))


if __name__ == "__main__":
    main()
