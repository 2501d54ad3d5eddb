"""CPU per call of a limit that is shared through a store, against the same limit without one.

``scripts/bench --store`` starts a Redis on loopback and paces RATE calls a second over SCOPES
callers through two limits each. The figure includes the renewals in the background; the
server's own CPU is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from penstock.meter.quotas import Claim, Exceeded, Quotas
from penstock.meter.shared import SharedQuotas
from penstock.meter.store import Store
from penstock.meter.store_url import read_store_url

RATE = 200  # calls a second: one core of a proxy serves some hundred
TARGET_MICROSECONDS = 60


def claims(caller: int) -> list[Claim]:
    scope = (("user", f"user-{caller}"),)
    return [
        Claim("hour", "tokens", 10**9, 3600, scope, 900),
        Claim("together", "requests", 10**8, 86_400, (), 1),
    ]


async def paced(quotas: Quotas, store: Store | None, seconds: float, scopes: int) -> float:
    """CPU seconds per call."""
    of_each = [claims(number) for number in range(scopes)]
    for each in of_each:  # first calls ask; here the figure is of those after them
        if store is not None and quotas.short(time.time(), each):
            await store.ask(each)
    number, began, cpu = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - began) < seconds:
        while number < passed * RATE:
            wanted, now = of_each[number % scopes], time.time()
            if quotas.short(now, wanted) and store is not None:
                await store.ask(wanted)
            answer = quotas.reserve(now, wanted)
            if isinstance(answer, Exceeded):
                raise SystemExit("the limit of the benchmark is too small")
            quotas.settle(now, answer, {"tokens": 850, "requests": 1})
            number += 1
        await asyncio.sleep(0.005)
    return (time.process_time() - cpu) / number


async def idle(seconds: float) -> float:
    """What the pacing itself costs, per call."""
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:  # noqa: ASYNC110 - the waiting is measured
        await asyncio.sleep(0.005)
    return (time.process_time() - cpu) / (seconds * RATE)


async def measured(url: str, seconds: float, scopes: int) -> dict[str, float]:
    base = await idle(seconds)
    alone = await paced(Quotas(), None, seconds, scopes)
    store = Store(read_store_url(url), SharedQuotas(), "deny")
    await store.start()
    shared = await paced(store.quotas, store, seconds, scopes)
    asked = store.asked
    await store.stop()
    return {
        "scopes": scopes,
        "own_us": round((alone - base) * 1e6, 1),
        "shared_us": round((shared - base) * 1e6, 1),
        "added_us": round((shared - alone) * 1e6, 1),
        "calls_that_asked": asked - scopes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--scopes", type=int, nargs="*", default=[1, 10, 50])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("redis-server is not installed")
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        server = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            url = f"redis://127.0.0.1:{port}"
            rows = [asyncio.run(measured(url, options.seconds, n)) for n in options.scopes]
        finally:
            server.kill()
            server.wait()
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print("   ".join(f"{name} {value:g}" for name, value in row.items()))
    worst = max(row["added_us"] for row in rows)
    verdict = "met" if worst <= TARGET_MICROSECONDS else "missed"
    print(f"target {TARGET_MICROSECONDS} µs added: {verdict}", file=sys.stderr)


if __name__ == "__main__":
    main()
