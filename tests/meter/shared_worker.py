"""Proxies' limits with many callers, as processes: what tests start several of. Not a test.

A nursery reads one JSON object of options per line from its input and forks a worker for it,
whose process id it prints: what all need is imported once. Each call that is let through is a
line of the file ``uses`` when it begins and when it ends; what a worker has to say in the end
stands in ``uses`` with ``.said`` behind it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import redis.asyncio
import redis.exceptions  # before the fork

from penstock.meter.lease import Answer, Message
from penstock.meter.quotas import Claim, Exceeded
from penstock.meter.shared import SharedQuotas
from penstock.meter.store import Store
from penstock.meter.store_url import read_store_url


class WatchedStore(Store):
    """Remembers what the store last said of the limit: used by all, and by how many proxies."""

    last_total = most = 0
    last_pods = 1

    async def _send(self, messages: Sequence[tuple[Message, str]]) -> list[Answer | None]:
        answers = await super()._send(messages)
        for (message, _), answer in zip(messages, answers, strict=True):
            if answer is not None and message["kind"] != "touch":
                self.last_total, self.last_pods = answer.total, answer.pods
                self.most = max(self.most, answer.total)
        return answers


async def caller(store: Store, options: dict, uses: int, counts: dict) -> None:
    quotas, now = store.quotas, time.time
    claim = Claim(
        "shared", options["unit"], options["limit"], options["every"],
        (("team", options["scope"]),), options["reserve"], burst=options.get("burst"),
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


async def main(options: dict) -> None:
    uses = os.open(options["uses"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    on_error = options.get("on_error", "deny")
    store = WatchedStore(read_store_url(options["url"]), SharedQuotas(), on_error)
    await store.start()
    Path(options["uses"] + ".ready").touch()
    go = Path(options["go"])
    while not go.exists():
        await asyncio.sleep(0.02)
    options["until"] = float(go.read_text())
    counts = {"asked": 0, "granted": 0, "refused": 0}
    await asyncio.gather(*(caller(store, options, uses, counts) for _ in range(options["callers"])))
    heard = {"total": store.last_total, "pods": store.last_pods, "most": store.most}
    await store.stop()
    draft = Path(options["uses"] + ".draft")
    draft.write_text(json.dumps(counts | {"status": store.status(), "heard": heard}))
    draft.replace(options["uses"] + ".said")


def nursery() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            random.seed()  # not all the same
            try:
                asyncio.run(main(json.loads(line)))
            finally:
                os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    assert redis.asyncio  # imported once, not once a worker
    nursery()
