"""What no call may do, whatever the policy says: reach this machine, or lie about its target.

Two pure questions. May a connection go to this address (loopback, link-local, metadata
services, unspecified, our own ports are closed)? Do the names in a request agree (tunnel
target, TLS name, Host)? The guard is asked with resolved addresses, at the moment of
connecting, so a name that resolves to a closed address does not help.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection

from penstock.proxy.engine.problem import (
    ABSOLUTE_FORM,
    HOST_HEADER,
    MISDIRECTED,
    NOT_PROXY_FORM,
    Problem,
)

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Metadata and platform services outside the link-local ranges: AWS over IPv6, Alibaba, Azure.
METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215
THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")  # RFC 1122: Linux routes 0.x to itself


def closed_address(text: str, port: int, own_ports: Collection[int]) -> str | None:
    """Why the IP address ``text`` may not be connected to; None when it may."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return "not an address"
    for form in _embedded(address):
        if form in METADATA_ADDRESSES:
            return "metadata service"
        if form.is_loopback:
            return "loopback"
        if form.is_link_local:
            return "link-local"
        if form.is_unspecified or (form.version == 4 and form in THIS_NETWORK):
            return "unspecified"
        if form.is_multicast or form == ipaddress.IPv4Address(0xFFFFFFFF):
            return "not a host"
    if port in own_ports and _is_local(address):
        return "own port"
    return None


def _embedded(address: IpAddress) -> list[IpAddress]:
    """The address and the IPv4 address it stands for, if any."""
    forms: list[IpAddress] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        for inner in (address.ipv4_mapped, address.sixtofour):
            if inner is not None:
                forms.append(inner)
        if address.teredo is not None:
            forms.extend(address.teredo)
        low = int(address) & 0xFFFFFFFF
        # ::a.b.c.d, deprecated but still routed to the same host by some systems (RFC 4291).
        compatible = int(address) >> 32 == 0 and low > 1
        if address in NAT64 or address in NAT64_LOCAL or compatible:
            forms.append(ipaddress.IPv4Address(low))
    return forms


def _is_local(address: IpAddress) -> bool:
    """True when the address belongs to this machine: only then can a socket be bound to it."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def literal_address(host: str) -> str | None:
    """``host`` as a canonical IP address if it is one in any spelling (hex, decimal, short)."""
    bare = host.strip("[]").partition("%")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except OSError:
        return None


def normal_host(host: str) -> str:
    """One spelling per host: lower case, no trailing dot, no brackets, IDNA names in ASCII."""
    host = host.strip().strip("[]").rstrip(".").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return ""
    return host


def split_authority(authority: str, default_port: int) -> tuple[str, int] | None:
    """``host[:port]`` as a normalised pair; None when it is not one."""
    host, separator, port = authority.strip().rpartition(":")
    if not separator or authority.strip().endswith("]"):
        host, port = authority, str(default_port)
    if "@" in host or "/" in host or not port.isascii() or not port.isdigit():
        return None
    name = normal_host(host)
    return (name, int(port)) if name and 0 < int(port) < 65536 else None


def tunnel_problem(
    target: tuple[str, int] | None,
    server_name: str | None,
    hosts: list[str],
    *,
    absolute: bool,
    default_port: int,
) -> Problem | None:
    """What is wrong with a request inside a tunnel (CONNECT) or a redirected connection.

    ``target`` is what CONNECT named, None in transparent mode; ``server_name`` the TLS
    name, None without TLS or without SNI; ``hosts`` every Host header of the request.
    """
    if absolute:
        return ABSOLUTE_FORM
    if len(hosts) != 1:
        return HOST_HEADER
    named = split_authority(hosts[0], target[1] if target else default_port)
    if named is None:
        return HOST_HEADER
    if target is not None and named != (normal_host(target[0]), target[1]):
        return MISDIRECTED
    if server_name is not None and normal_host(server_name) != named[0]:
        return MISDIRECTED
    return None


def reverse_problem(
    target: tuple[str, int], listening: str, hosts: list[str], *, absolute: bool
) -> Problem | None:
    """What is wrong with a request to a port of ours that stands for the server ``target``.

    A page in a browser can make a name of its own mean this machine (DNS rebinding). It cannot
    choose the Host header: on loopback only names of this machine and of the server are taken.
    The header is replaced by the server's name, so the server cannot tell any more.
    """
    if absolute:
        return ABSOLUTE_FORM
    if len(hosts) != 1:
        return HOST_HEADER
    named = split_authority(hosts[0], target[1])
    if named is None:
        return HOST_HEADER
    local = named[0] == "localhost" or literal_address(named[0]) is not None
    if local or named[0] == normal_host(target[0]) or not _is_loopback(listening):
        return None
    return MISDIRECTED


def _is_loopback(text: str) -> bool:
    return ipaddress.ip_address(text.partition("%")[0]).is_loopback


def forward_problem(
    target: tuple[str, int] | None, hosts: list[str], *, default_port: int
) -> Problem | None:
    """What is wrong with a plain forward-proxy request; ``target`` is its URL's host and port."""
    if target is None:
        return NOT_PROXY_FORM
    if len(hosts) != 1:
        return HOST_HEADER
    named = split_authority(hosts[0], default_port)
    if named is None:
        return HOST_HEADER
    return None if named == (normal_host(target[0]), target[1]) else MISDIRECTED
