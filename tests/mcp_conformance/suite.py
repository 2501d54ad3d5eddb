"""Runs of the official conformance suite, and the comparison of two ways to the same server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.npm_tools import node_honouring_the_variables, npm_package

SUITE = "@modelcontextprotocol/conformance"
VERSION = "0.2.0-alpha.12"
INTEGRITY = (
    "sha512-eXtZFgmtZiU5SsvXty+RGXGnyIqEVm3GLU/HZmg1wMjtKOocPZZgD9HQKd30oJhio5UB0wFJmsc6"
    "r8u48Q+EYA=="
)
RUN_SECONDS_MAX = 300
# The quickest runs are compared, for the machine does other things as well; more of them are
# made only while the comparison fails.
RUNS_MAX = 8
SLOWER_AT_MOST = 1.3
# What a run may take longer besides, on machines whose cores are taken by other work.
SLACK_SECONDS = 1.0


class Run:
    """One run of the suite: what each check said, and how long it took."""

    def __init__(self, arguments: list[str], folder: Path, variables: Mapping[str, str]) -> None:
        suite = npm_package(SUITE, VERSION, INTEGRITY) / "dist" / "index.js"
        command = [node_honouring_the_variables(), str(suite), *arguments]
        began = time.monotonic()
        finished = subprocess.run(
            [*command, "--output-dir", str(folder)],
            env={**without_proxies(), **variables},
            capture_output=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )
        self.seconds = time.monotonic() - began
        self.checks: Counter[tuple[str, str, str]] = Counter()
        for file in folder.rglob("checks.json"):
            scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*", "", str(file.parent.relative_to(folder)))
            for check in json.loads(file.read_text()):
                self.checks[(scenario, check["id"], check["status"])] += 1
        assert self.checks, finished.stderr.decode()[-2000:]

    @property
    def passed(self) -> int:
        return sum(n for (_, _, status), n in self.checks.items() if status == "SUCCESS")


def without_proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}


def compare(
    title: str,
    direct: Callable[[Path], Run],
    through: Callable[[Path], Run],
    folder: Path,
    *,
    passed_at_least: int,
    runs: int = 2,
) -> int:
    """Fail unless every check says the same both ways, in 1.3 times the time; how many runs."""
    plain: list[Run] = []
    governed: list[Run] = []
    while len(governed) < runs or (
        slower(plain, governed) > SLOWER_AT_MOST and len(governed) < RUNS_MAX
    ):
        number = len(governed)
        plain.append(direct(folder / f"direct-{number}"))
        governed.append(through(folder / f"through-{number}"))
        assert governed[-1].checks == plain[-1].checks
    assert plain[0].passed >= passed_at_least
    print(
        f"{title}: {governed[0].passed} of {plain[0].passed} checks, "
        f"{min(run.seconds for run in plain):.1f} s direct, "
        f"{min(run.seconds for run in governed):.1f} s through"
    )
    assert slower(plain, governed) <= SLOWER_AT_MOST
    return len(governed)


def slower(direct: list[Run], through: list[Run]) -> float:
    """The quickest run through the proxy, less the slack, in quickest direct runs."""
    quickest = max(0.0, min(run.seconds for run in through) - SLACK_SECONDS)
    return quickest / min(run.seconds for run in direct)
