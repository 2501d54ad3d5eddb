"""Host patterns as policies write them, and the one spelling of a host name.

``api.example.com`` is that name only, ``*.example.com`` any name below it (not the name
itself), ``*`` every host; ``:8443`` at the end asks for a port; IP literals match the
address, however it is spelt. Never a partial label: ``*.ample.com`` is not ``example.com``.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

# A host name has at most 253 characters (RFC 1035, 2.3.4); longer ones match nothing.
HOST_CHARACTERS_MAX = 253
# Hosts and patterns remembered. A pod talks to dozens; a hostile client can invent names,
# so the memory is bounded: 4096 short strings are below 1 MiB.
REMEMBERED_MAX = 4096


class HostPattern(NamedTuple):
    """A pattern taken apart: ``host`` without the wildcard, and what is asked of the rest."""

    host: str
    below: bool  # only names below ``host``; with an empty ``host``: every name
    port: int | None


@lru_cache(REMEMBERED_MAX)
def canonical_host(host: str) -> str:
    """The one spelling of a host: lower case, ASCII (IDNA), no trailing dot, no brackets.

    IP addresses come out in their shortest form, an IPv4-mapped IPv6 address as IPv4. A
    name that cannot be a host (too long, empty label, not encodable) comes out as the
    empty string, which matches nothing.
    """
    name = host.strip().removeprefix("[").removesuffix("]")
    if not name.isascii():
        name = _ascii(name)
    name = name.lower().removesuffix(".")
    if not name or len(name) > HOST_CHARACTERS_MAX:
        return ""
    if ":" in name or name[-1].isdigit():
        return _address(name) or ("" if ":" in name else name)
    return "" if ".." in name or name.startswith(".") else name


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _address(name: str) -> str | None:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _split_port(text: str) -> tuple[str, str | None]:
    """Host and port text of ``host``, ``host:port``, ``[v6]:port`` or a bare IPv6 address."""
    if text.startswith("["):
        host, _, rest = text.partition("]")
        return host + "]", rest.removeprefix(":") if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


@lru_cache(REMEMBERED_MAX)
def parse_pattern(pattern: str) -> HostPattern:
    """Take a policy's host pattern apart.

    Raises ValueError with a sentence for the policy's author when it is not a pattern.
    """
    host, port_text = _split_port(pattern.strip())
    port = None
    if port_text is not None:
        if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) < 65536):
            raise ValueError(f"the port of {pattern!r} is not a number from 1 to 65535")
        port = int(port_text)
    if host == "*":
        return HostPattern("", True, port)
    below = host.startswith("*.")
    name = host[2:] if below else host
    if "*" in name:
        raise ValueError(f"{pattern!r}: a star stands only for whole names: '*' or '*.example.com'")
    if "/" in name or "@" in name:
        raise ValueError(f"{pattern!r}: write a host name, not a URL")
    canonical = canonical_host(name)
    if not canonical:
        raise ValueError(f"{pattern!r} is not a host name")
    return HostPattern(canonical, below, port)


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with a host pattern, or None."""
    try:
        parse_pattern(pattern)
    except ValueError as error:
        return str(error)
    return None


def matches(pattern: str, host: str, port: int | None = None) -> bool:
    """True when ``host`` (and ``port``, where the pattern names one) is what ``pattern`` means.

    Both sides are brought to their canonical spelling. A pattern with a port does not match
    when the port is not given. An unreadable pattern matches nothing.
    """
    try:
        wanted = parse_pattern(pattern)
    except ValueError:
        return False
    name = canonical_host(host)
    if not name or (wanted.port is not None and wanted.port != port):
        return False
    if not wanted.below:
        return name == wanted.host
    return not wanted.host or name.endswith("." + wanted.host)
