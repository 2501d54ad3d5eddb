"""The official conformance suite against ``penstock mcp serve``, policies on.

The suite knows the fixture's names, so a small server in between takes the endpoint's names off and
puts them on (``unnamed.py``). Every other check says the same as directly, but for those below.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.mcp_conformance import fixture, unnamed
from tests.mcp_conformance.suite import Run
from tests.mcp_conformance.test_conformance import PASSED_AT_LEAST, POLICY, against
from tests.mcp_serve.serving import serving

# What differs by design. The endpoint's streams are its own: when a server breaks off its stream to
# have the client come back, it is the endpoint that comes back, and the client's stream stays.
BY_DESIGN = {
    "2025-11-25": {
        "server-sse-priming-event", "server-sse-retry-field", "server-sse-disconnect-resume",
    },
    "2026-07-28": set[str](),
}  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


@contextmanager
def on_a_port(application: Any) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "it did not start"
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=5)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The fixture's URL, and the one behind which the endpoint stands before it."""
    folder = tmp_path_factory.mktemp("served")
    with on_a_port(fixture.application()) as port:
        url = f"http://127.0.0.1:{port}/mcp"
        with (
            serving(folder, POLICY, {unnamed.SERVER: {"url": url}}, [unnamed.SERVER]) as made,
            on_a_port(unnamed.application(f"http://{made.listen}")) as between,
        ):
            yield url, f"http://127.0.0.1:{between}/mcp"


@pytest.mark.parametrize("revision", sorted(PASSED_AT_LEAST))
def test_no_check_is_lost_behind_one_address(
    revision: str, ways: tuple[str, str], tmp_path: Path
) -> None:
    direct = against(ways[0], revision, tmp_path / "direct", {})
    served = against(ways[1], revision, tmp_path / "served", {})
    lost = passed(direct) - passed(served)
    print(f"{revision}, served: {served.passed} of {direct.passed} checks, lost {sorted(lost)}")
    assert {check for _, check in lost} <= BY_DESIGN[revision]
    assert direct.passed >= PASSED_AT_LEAST[revision]


def passed(run: Run) -> set[tuple[str, str]]:
    """Checks that only said yes, by scenario."""
    said = {(scenario, check, status) for scenario, check, status in run.checks}
    return {
        (scenario, check)
        for scenario, check, status in said
        if status == "SUCCESS" and (scenario, check, "FAILURE") not in said
    }
