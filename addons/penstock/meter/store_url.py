"""Where the store of shared limits is, and how to reach it.

``redis://``, ``rediss://`` (TLS), ``valkey://``, ``valkeys://`` and ``unix://`` as redis-py
reads them (``?ssl_ca_certs=/path``, ``?db=1``), ``redis+cluster://host:port`` and
``redis+sentinel://host:port,host:port/service`` with ``rediss+…`` for TLS. The password may
stand in the URL or in PENSTOCK_STORE_PASSWORD; that of Sentinel itself in the query
(``sentinel_username``, ``sentinel_password``; ``sentinel_tls=no`` where only the servers have
TLS). They are never part of what is shown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

PASSWORD = "PENSTOCK_STORE_PASSWORD"  # noqa: S105 - the variable's name
SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
SENTINEL_PORT = 26379

Kind = Literal["one", "cluster", "sentinel"]


@dataclass(slots=True, frozen=True)
class StoreUrl:
    """A URL that was checked. ``shown`` is safe to be shown."""

    kind: Kind
    url: str = field(repr=False)
    shown: str
    tls: bool

    def client(self, connections: int, seconds: float) -> Any:
        """A redis-py client. Nothing is opened before it is used."""
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {
            "socket_timeout": seconds,
            "socket_connect_timeout": seconds,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),  # ours know what was sent before
        }
        if password := os.environ.get(PASSWORD):
            options["password"] = password
        if self.kind == "sentinel":
            return self._sentinel(options, connections, seconds)
        from redis import asyncio as redis

        if self.kind == "cluster":
            return redis.RedisCluster.from_url(self.url, **options)
        pool = redis.BlockingConnectionPool.from_url(
            self.url, max_connections=connections, timeout=seconds, **options
        )
        return redis.Redis(connection_pool=pool)

    def _sentinel(self, options: dict[str, Any], connections: int, seconds: float) -> Any:
        from redis.asyncio.sentinel import Sentinel

        parts = urlsplit(self.url)
        hosts = [address.rpartition(":") for address in parts.netloc.rpartition("@")[2].split(",")]
        addresses = [
            (host or port, int(port) if host else SENTINEL_PORT) for host, _, port in hosts
        ]
        if parts.password:
            options.setdefault("password", unquote(parts.password))
        if parts.username:
            options["username"] = unquote(parts.username)
        if self.tls:
            options["ssl"] = True
        query = dict(parse_qsl(parts.query))
        # Sentinel is reached as the servers it names are; its user and password are its own.
        same = {name: query[name] for name in query if name.startswith("ssl_")}
        guard: dict[str, Any] = {
            name: query.pop(f"sentinel_{name}", None) for name in ("username", "password")
        }
        if query.pop("sentinel_tls", "yes") == "yes" and self.tls:
            guard |= {"ssl": True, **same}
        sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no annotation
            addresses,
            sentinel_kwargs={"socket_timeout": seconds, **guard},
            **options,
            **query,
        )
        return sentinel.master_for(parts.path.strip("/"), max_connections=connections)


def read_store_url(text: str) -> StoreUrl:
    """Check a store's URL.

    Raises:
        ValueError: what is wrong, without the URL's secrets.
    """
    parts = urlsplit(text)
    scheme, _, way = parts.scheme.partition("+")
    if scheme not in SCHEMES or way not in ("", "cluster", "sentinel"):
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(f"a store's URL begins with {known} redis+cluster:// or redis+sentinel://")
    where = parts.netloc.rpartition("@")[2] or parts.path
    if not where:
        raise ValueError("a store's URL names a host: redis://redis.example.com:6379")
    if way == "sentinel" and not parts.path.strip("/"):
        raise ValueError("a sentinel URL names the service: redis+sentinel://host:26379/mymaster")
    tls = scheme in ("rediss", "valkeys")
    plain = {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme)
    kind: Kind = "cluster" if way == "cluster" else "sentinel" if way == "sentinel" else "one"
    return StoreUrl(kind, plain + text[len(parts.scheme) :], f"{parts.scheme}://{where}", tls)
