"""``--connect-to HOST:PORT=ADDRESS:PORT``: another address for a destination.

For private endpoints and for tests against a local server. The destination
keeps its name; SNI, Host header and certificate check stay those of HOST.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.proxy.settings import Address


def parse_address(text: str) -> Address:
    """``host:port`` or ``[v6]:port`` as an address; ValueError says what is wrong."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"expected HOST:PORT, found {text!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address needs brackets: {text!r}")
    return host.rstrip(".").lower(), int(port)


def parse_connect_to(values: Iterable[str]) -> dict[Address, Address]:
    """All ``HOST:PORT=ADDRESS:PORT`` values as a table; ValueError on a bad or repeated one."""
    table: dict[Address, Address] = {}
    for value in values:
        name, separator, target = value.partition("=")
        if not separator:
            raise ValueError(f"expected HOST:PORT=ADDRESS:PORT, found {value!r}")
        key = parse_address(name)
        if key in table:
            raise ValueError(f"{name} is given twice")
        table[key] = parse_address(target)
    return table
