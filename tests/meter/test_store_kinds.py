"""Each way to reach a store, with real servers: TLS, passwords and users, Sentinel, a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.meter.quotas import Claim, Exceeded
from penstock.meter.shared import SharedQuotas
from penstock.meter.store import GENERATION_KEY, Store
from penstock.meter.store_url import PASSWORD as VARIABLE
from penstock.meter.store_url import read_store_url
from tests.meter.redis_server import (
    ClusterServers,
    RedisServer,
    SentinelServers,
    eventually,
    needs_redis,
)
from tests.openssl import Authority, Pair, needs_openssl

PASSWORD = "correct-horse: battery/staple@7"
SECONDS_MAX = 30.0

pytestmark = [needs_redis, pytest.mark.slow]


@asynccontextmanager
async def proxies(url: str, count: int = 2) -> AsyncIterator[list[Store]]:
    """Several proxies' stores, past the first moments in which a new store grants nothing."""
    stores = [Store(read_store_url(url), SharedQuotas(), "deny") for _ in range(count)]
    for store in stores:
        await store.start()
    try:
        yield stores
    finally:
        for store in stores:
            await store.stop()


def claim(limit: int, rule: str = "r") -> Claim:
    return Claim(rule, "requests", limit, 3600, (("team", "a"),), 1)


async def call(store: Store, wanted: Claim) -> bool:
    """One call: leased, reserved, settled; True when it may go."""
    if store.quotas.short(time.time(), [wanted]):
        await store.ask([wanted])
    answer = store.quotas.reserve(time.time(), [wanted])
    if isinstance(answer, Exceeded):
        return False
    store.quotas.settle(time.time(), answer, {"requests": 1})
    return True


async def is_there(store: Store) -> None:
    """Wait until the store grants."""
    deadline = time.monotonic() + SECONDS_MAX
    while not await call(store, claim(1_000_000, "warm")):
        assert time.monotonic() < deadline, store.status()
        await asyncio.sleep(0.1)


async def shared_by(stores: list[Store], limit: int, rule: str = "r") -> int:
    """How many of twice as many calls as the limit may go, in turns."""
    for store in stores:
        await is_there(store)
    wanted = claim(limit, rule)
    return sum([await call(stores[turn % len(stores)], wanted) for turn in range(2 * limit)])


async def fails_with(url: str) -> str:
    """Why a store cannot be reached; one that can is a mistake of the test."""
    async with proxies(url, 1) as (store,):
        assert not await call(store, claim(10))
        assert store.problem is not None and PASSWORD not in str(store.status())
        return store.problem


# --------------------------------------------------------------------------- passwords


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with a password, and a user who may do what the documentation says is needed."""
    server = RedisServer(tmp_path_factory.mktemp("guarded"), password=PASSWORD)
    needed = "+eval +evalsha +time +hgetall +hmget +hset +hdel +pexpire +info"
    rules = f"on >users-password ~penstock:* -@all {needed}"
    assert server.command("ACL", "SETUSER", "penstock", *rules.split()).startswith("+OK")
    yield server
    server.stop()


async def test_a_password_of_the_environment(
    guarded: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two proxies, one limit, to the call; and without the password nothing."""
    monkeypatch.setenv(VARIABLE, PASSWORD)
    async with proxies(guarded.url) as stores:
        assert await shared_by(stores, 60) == 60
        assert stores[0].status()["reachable"]
    monkeypatch.delenv(VARIABLE)
    assert await fails_with(guarded.url) == "AuthenticationError"


async def test_a_user_with_only_the_commands_that_are_documented(guarded: RedisServer) -> None:
    """The list in docs/limits.md is enough; the user stands in the URL."""
    url = guarded.url.replace("://", "://penstock:users-password@")
    async with proxies(url) as stores:
        assert await shared_by(stores, 60, "user") == 60
        assert "users-password" not in str(stores[0].status()) + repr(stores[0].url)


# --------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Pair]:
    authority = Authority(tmp_path_factory.mktemp("store-pki"))
    return authority, authority.sign("store", "IP:127.0.0.1,DNS:localhost")


@needs_openssl
async def test_tls_with_client_certificates(pki: tuple[Authority, Pair], tmp_path: Path) -> None:
    """Both sides prove themselves; who does not is not there, and is not spoken to in clear."""
    authority, pair = pki
    server = RedisServer(tmp_path, tls=(pair, authority.pem))
    try:
        trusted = f"{server.url}?ssl_ca_certs={authority.pem}"
        whole = f"{trusted}&ssl_certfile={pair.certificate}&ssl_keyfile={pair.key}"
        async with proxies(whole) as stores:
            assert await shared_by(stores, 60) == 60
        assert await fails_with(trusted)  # without a certificate of our own
        stranger = Authority(tmp_path / "other")
        assert await fails_with(whole.replace(str(authority.pem), str(stranger.pem)))
        assert await fails_with(server.url.replace("rediss://", "redis://"))
        other_name = authority.sign("other", "DNS:redis.example.com")
        server.kill()
        server.tls = (other_name, authority.pem)
        server.start_blindly()
        assert await fails_with(whole) == "ConnectionError"  # another host's certificate
    finally:
        server.stop()


# --------------------------------------------------------------------------- Sentinel


@pytest.mark.parametrize("secured", [False, pytest.param(True, marks=needs_openssl)])
async def test_sentinel_moves_the_limits_to_the_replica(
    pki: tuple[Authority, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secured: bool
) -> None:
    """The master dies while half is used: the rest, and no more, is to be had from the replica.

    Secured: everything over TLS with a password, and another one for Sentinel itself.
    """
    authority, pair = pki
    query = ""
    if secured:
        monkeypatch.setenv(VARIABLE, PASSWORD)
        files = f"ssl_certfile={pair.certificate}&ssl_keyfile={pair.key}"
        query = f"?ssl_ca_certs={authority.pem}&{files}&sentinel_password=guard"
        servers = SentinelServers(
            tmp_path, password=PASSWORD, sentinel_password="guard", tls=(pair, authority.pem)
        )
    else:
        servers = SentinelServers(tmp_path)
    try:
        async with proxies(servers.url + query) as stores:
            for store in stores:
                await is_there(store)
            wanted = claim(200)
            used = sum([await call(stores[turn % 2], wanted) for turn in range(100)])
            assert used == 100
            servers.master.kill()
            eventually(
                "the replica is master", lambda: "role:master" in servers.replica.command("INFO")
            )
            deadline = time.monotonic() + SECONDS_MAX
            while used < 200:
                assert time.monotonic() < deadline, stores[0].status()
                used += await call(stores[used % 2], wanted)
                await asyncio.sleep(0)
            assert not any([await call(store, wanted) for store in stores])
            assert all(store.status()["reachable"] for store in stores)
            assert "guard" not in str(stores[0].status()) + repr(stores[0].url)
    finally:
        servers.stop()


# --------------------------------------------------------------------------- a cluster


@pytest.mark.parametrize("secured", [False, pytest.param(True, marks=needs_openssl)])
async def test_a_cluster_holds_a_limit_on_one_node(
    pki: tuple[Authority, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secured: bool
) -> None:
    """Found from any node; when its node dies the limit is refused, and comes back with it."""
    authority, pair = pki
    query, more = "", {}
    if secured:
        monkeypatch.setenv(VARIABLE, PASSWORD)
        files = f"ssl_certfile={pair.certificate}&ssl_keyfile={pair.key}"
        query = f"?ssl_ca_certs={authority.pem}&{files}"
        more = {"password": PASSWORD, "tls": (pair, authority.pem)}
    servers = ClusterServers(tmp_path, **more)  # type: ignore[arg-type]
    try:
        owner = servers.owner(GENERATION_KEY)
        async with proxies(servers.url + query) as stores:
            assert await shared_by(stores, 60) == 60
            if secured:
                return
            owner.pause()
            assert not await call(stores[0], claim(10, "paused"))
            assert stores[0].problem is not None
            owner.resume()
            assert await shared_by(stores, 60, "again") == 60
    finally:
        servers.stop()
