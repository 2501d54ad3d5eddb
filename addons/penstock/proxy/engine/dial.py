"""Opening a TCP connection to an upstream: resolve, check, connect, in that order.

The address that was checked is the address that is connected to, so a name that answers
differently the second time gains nothing.
"""

from __future__ import annotations

import asyncio
import socket

from mitmproxy.connection import Server

from penstock.proxy.engine.guard import closed_address, normal_host
from penstock.proxy.engine.runtime import Runtime
from penstock.proxy.settings import Address

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ClosedAddressError(OSError):
    """Every address of the destination is one the proxy does not connect to."""


async def connect(server: Server, runtime: Runtime) -> Streams:
    """Connect to ``server``; raises ClosedAddressError, TimeoutError or OSError."""
    assert server.address
    settings = runtime.settings
    address = (normal_host(server.address[0]), server.address[1])
    named = (normal_host(server.sni or ""), server.address[1])
    target = settings.connect_to.get(address) or settings.connect_to.get(named)
    async with asyncio.timeout(settings.limits.connect_seconds):
        addresses = await _resolve(target or (server.address[0], server.address[1]))
        if target is None:
            addresses = [
                (host, port)
                for host, port in addresses
                if closed_address(host, port, runtime.own_ports) is None
            ]
        if not addresses:
            raise ClosedAddressError
        return await _first(addresses, settings.limits.connect_seconds)


async def _resolve(target: Address) -> list[Address]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(*target, type=socket.SOCK_STREAM)
    # Order as the system gave it (RFC 6724), each once.
    return list(dict.fromkeys((str(entry[4][0]), target[1]) for entry in found))


async def _first(addresses: list[Address], seconds: float) -> Streams:
    """The first address that accepts; each gets its share of the time."""
    share = seconds / len(addresses)
    for host, port in addresses[:-1]:
        try:
            async with asyncio.timeout(share):
                return await asyncio.open_connection(host, port)
        except OSError:
            continue
    return await asyncio.open_connection(*addresses[-1])
