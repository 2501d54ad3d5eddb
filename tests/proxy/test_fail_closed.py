"""An exception anywhere in judging a call never lets the call through by accident."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.proxy.raw import (
    HOST,
    OK,
    RawUpstream,
    RunningProxy,
    TestCa,
    running_proxy,
)

HOOKS = ["requestheaders", "request", "responseheaders", "response"]
BEFORE_UPSTREAM = ["requestheaders", "request"]


@pytest.fixture(scope="module", params=["deny", "allow"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ca: TestCa
) -> Iterator[tuple[str, RunningProxy, RawUpstream]]:
    """An engine per ``on_error``, with an addon that raises where the path says."""
    with (
        RawUpstream(OK, ca.context(HOST)) as upstream,
        running_proxy(
            tmp_path_factory.mktemp("state"),
            connect_to={f"{HOST}:443": upstream.port},
            upstream_ca=ca.pem,
            addon="Raises",
            on_error=request.param,
        ) as proxy,
    ):
        yield request.param, proxy, upstream


@pytest.mark.parametrize("path", [f"/raise/{hook}" for hook in HOOKS] + ["/async/request"])
def test_a_raising_hook_decides_by_on_error(
    engine: tuple[str, RunningProxy, RawUpstream], path: str
) -> None:
    """deny: refused, and before the upstream where that is still possible. allow: unchanged."""
    on_error, proxy, upstream = engine
    before = len(upstream.requests)
    with proxy.tunnel(HOST) as client:
        client.post(HOST, path)
        answer = client.answer()
        reached = len(upstream.requests) - before
        if on_error == "allow":
            assert (answer.raw, reached) == (OK, 1)
        else:
            assert (answer.status, answer.code) == (403, "check_failed")
            assert answer.headers["x-should-retry"] == "false"
            assert reached == (0 if path.split("/")[2] in BEFORE_UPSTREAM else 1)
        client.post(HOST, "/fine")
        assert client.answer().raw == OK


def test_an_asynchronous_hook_is_waited_for(
    engine: tuple[str, RunningProxy, RawUpstream],
) -> None:
    """What it does after waiting is in the request that leaves."""
    _, proxy, upstream = engine
    with proxy.tunnel(HOST) as client:
        client.post(HOST, "/async/fine")
        assert client.answer().raw == OK
    assert b"x-seen: later" in upstream.requests[-1]


def test_exception_texts_are_not_logged(engine: tuple[str, RunningProxy, RawUpstream]) -> None:
    """They can carry the call's bytes; class and place are enough to find the fault."""
    _, proxy, _ = engine
    with proxy.tunnel(HOST) as client:
        client.post(HOST, "/raise/request")
        client.answer()
    log = proxy.log.read_text()
    assert "canary" not in log
    assert "ValueError in request at engine_test_addon:" in log
