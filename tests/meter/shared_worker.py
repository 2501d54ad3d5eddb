"""One proxy's limits with many callers: what tests start several of, as processes.

Arguments: store URL, JSON options. Each call that is let through is one line of the file
``uses``: time, amount. Not a test.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from decimal import Decimal
from pathlib import Path

from penstock.meter.quotas import Claim, Exceeded
from penstock.meter.shared import SharedQuotas
from penstock.meter.store import Store
from penstock.meter.store_url import read_store_url


async def caller(store: Store, options: dict, uses: int, counts: dict) -> None:
    quotas, now = store.quotas, time.time
    burst = options.get("burst")
    claim = Claim(
        "shared", options["unit"], options["limit"], options["every"], (("team", "x"),),
        options["reserve"], burst=burst,
    )  # fmt: skip
    while now() < options["until"]:
        if quotas.short(now(), [claim]):
            counts["asked"] += 1
            await store.ask([claim])
        answer = quotas.reserve(now(), [claim])
        if isinstance(answer, Exceeded):
            counts["refused"] += 1
            await asyncio.sleep(0.02)
            continue
        counts["granted"] += 1
        actual = random.randint(1, options["reserve"]) if options.get("varies") else None
        amount = actual or options["reserve"]
        began = now()
        os.write(uses, f"{began:.6f} {amount} b\n".encode())
        await asyncio.sleep(random.uniform(0.001, options["hold"]))
        os.write(uses, f"{now():.6f} {amount} e\n".encode())
        quotas.settle(now(), answer, {options["unit"]: amount})


async def main(url: str, options: dict) -> None:
    uses = os.open(options["uses"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    store = Store(read_store_url(url), SharedQuotas(), options.get("on_error", "deny"))
    await store.start()
    ready = Path(options["uses"] + ".ready")
    ready.touch()
    go = Path(options["go"])
    while not go.exists():
        await asyncio.sleep(0.02)
    options["until"] = float(go.read_text())
    counts = {"asked": 0, "granted": 0, "refused": 0}
    cpu = time.process_time()
    await asyncio.gather(*(caller(store, options, uses, counts) for _ in range(options["callers"])))
    counts["cpu"] = time.process_time() - cpu
    await store.stop()
    print(json.dumps(counts | {"status": store.status()}))


if __name__ == "__main__":
    assert Decimal(1)
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
