"""The admin address of several workers: each is asked, and the answers are put together.

A worker's samples get the label ``worker``; sums over it are what one process would have said.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from penstock.proxy.control.admin import CONTAINED, METRICS_TYPE, Admin
from penstock.proxy.settings import Address

# A worker that does not answer its own admin address within this time is busy or stuck.
ASK_SECONDS = 2.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024  # series are bounded; see record/instruments.py
_SAMPLE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(\{\}|\{)?")
_HELP = {
    "penstock_workers": ("gauge", "Workers that serve."),
    "penstock_worker_restarts_total": ("counter", "Workers that ended and were started again."),
}


class WorkersAdmin(Admin):
    """``workers`` are the admin addresses of those that serve, by number."""

    def __init__(
        self,
        host: str,
        port: int,
        workers: Mapping[int, Address],
        ending: Callable[[], bool],
        facts: Callable[[], Mapping[str, int]],
    ) -> None:
        super().__init__(host, port, metrics=lambda: b"", ready=lambda: False, status=dict)
        self.workers, self.ending, self.facts = workers, ending, facts

    async def readiness(self, _request: Request) -> Response:
        """One worker that takes new calls is enough: connections go to those that listen."""
        answers = {} if self.ending() else await self.ask("/readyz")
        said = [text for text in answers.values() if text is not None]
        if said:  # one that is contained says so for all: they follow the same order
            return PlainTextResponse(max(said, key=lambda text: CONTAINED in text))
        return PlainTextResponse("not ready\n", status_code=503)

    async def exposition(self, _request: Request) -> Response:
        answers = await self.ask("/metrics")
        known = {number: text for number, text in answers.items() if text is not None}
        return Response(merged(known, self.facts()), media_type=METRICS_TYPE)

    async def show_status(self, _request: Request) -> Response:
        answers = await self.ask("/status")
        workers = {
            str(number): None if text is None else json.loads(text)
            for number, text in sorted(answers.items())
        }
        return JSONResponse({"workers": workers, **self.facts()})

    async def ask(self, path: str) -> dict[int, str | None]:
        """What every worker says at ``path``; None for one that says nothing or no."""
        numbers = sorted(self.workers)
        answers = await asyncio.gather(
            *(asyncio.to_thread(_asked, self.workers[number], path) for number in numbers)
        )
        return dict(zip(numbers, answers, strict=True))


def _asked(address: Address, path: str) -> str | None:
    try:
        with urllib.request.urlopen(
            f"http://{address[0]}:{address[1]}{path}", timeout=ASK_SECONDS
        ) as answer:
            text: str = answer.read(ANSWER_BYTES_MAX).decode()
            return text
    except (OSError, ValueError):
        return None


def merged(texts: Mapping[int, str], facts: Mapping[str, int]) -> str:
    """Expositions of several workers (Prometheus text format 0.0.4) as one."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, text in sorted(texts.items()):
        family = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head:
                    head.append(line)
            elif line and not line.startswith("#"):
                samples.setdefault(family, []).append(_labelled(line, worker))
    lines = [line for name in heads for line in (*heads[name], *samples.get(name, ()))]
    for name, value in facts.items():
        kind, told = _HELP[name]
        lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}", f"{name} {value}"]
    return "\n".join(lines) + "\n"


def _labelled(sample: str, worker: int) -> str:
    label = f'{{worker="{worker}"'
    return _SAMPLE.sub(
        lambda match: match[1] + label + ("," if match[2] == "{" else "}"), sample, count=1
    )
