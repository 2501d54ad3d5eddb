"""The socket at the other end of a loopback connection, asked of the Linux kernel.

sock_diag(7) looks one connection up in the kernel's own table: some 20 µs. Where it is not to
be had (a sandbox), /proc/net/tcp[6] has the same rows, but for each reading the kernel walks
its whole table, which takes milliseconds however few connections there are.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from pathlib import Path

# A socket table of 8 MiB has some 50,000 rows: more than a machine with a local agent has.
TABLE_BYTES_MAX = 8 * 2**20
# The kernel answers at once or not at all; an answer is 100 bytes with all that may follow it.
ANSWER_SECONDS = 0.05
ANSWER_BYTES = 4096

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
ESTABLISHED = 1
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
# family, protocol, extensions, padding, states; ports, addresses; interface, cookie
REQUEST = struct.Struct("=BBBxI 4s 16s16s I8s")
# family, state, timer, retransmits; the same; expires, two queues; uid, inode
ANSWER = struct.Struct("=BBBB 4s 16s16s I8s III II")
NO_COOKIE = b"\xff" * 8

Address = tuple[str, int]


def socket_of(client: Address, server: Address | None) -> tuple[int, int] | None:
    """Inode and owner's uid of the established socket from ``client`` to ``server``; None: gone.

    Raises:
        OSError, ValueError: the system has no sock_diag, or an address is none.
    """
    if server is None or sys.platform != "linux":
        raise OSError("nothing to ask, or nobody")
    ends = [packed(client), packed(server)]
    if ends[0][0] != ends[1][0]:
        raise ValueError("the two ends are of two families")
    family = socket.AF_INET if ends[0][0] == 4 else socket.AF_INET6
    ports = struct.pack("!HH", client[1], server[1])
    asked = REQUEST.pack(
        family, socket.IPPROTO_TCP, 0, 1 << ESTABLISHED, ports, ends[0][1], ends[1][1], 0, NO_COOKIE
    )
    size = HEADER.size + len(asked)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(ANSWER_SECONDS)
        kernel.send(HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + asked)
        answer = kernel.recv(ANSWER_BYTES)
    if len(answer) < HEADER.size + ANSWER.size or HEADER.unpack_from(answer)[1] != (
        SOCK_DIAG_BY_FAMILY
    ):
        return None  # an error: there is no such connection
    _, state, *_, _, found, _, _, _, _, _, _, _, uid, inode = ANSWER.unpack_from(
        answer, HEADER.size
    )
    # Without an exact match the kernel answers with whoever listens there.
    return (inode, uid) if inode and state == ESTABLISHED and found == ports else None


def packed(address: Address) -> tuple[int, bytes]:
    """Version and the 16 bytes of an address; IPv4 in IPv6 is IPv4, as in the kernel's table."""
    parsed = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed.version, parsed.packed.ljust(16, b"\0")


def socket_in_table(proc: Path, client: Address) -> tuple[int, int] | None:
    """The same, read from the table: whoever ``client`` is connected to."""
    wanted = kernel_spelling(client)
    for table in ("tcp", "tcp6"):
        try:
            with (proc / "net" / table).open("rb") as file:
                text = file.read(TABLE_BYTES_MAX)
        except OSError:
            continue
        for spelling in wanted:
            found = _row(text, spelling)
            if found:
                return found
    return None


def kernel_spelling(address: Address) -> set[bytes]:
    """How the kernel prints an address: each 32-bit word in host order, hexadecimal."""
    parsed = ipaddress.ip_address(address[0].partition("%")[0])
    spellings = [parsed.packed]
    if isinstance(parsed, ipaddress.IPv4Address):
        spellings.append(b"\0" * 10 + b"\xff\xff" + parsed.packed)
    elif parsed.ipv4_mapped:
        spellings.append(parsed.ipv4_mapped.packed)
    step = -1 if sys.byteorder == "little" else 1
    return {
        b"".join(packed[at : at + 4][::step] for at in range(0, len(packed), 4))
        .hex()
        .upper()
        .encode()
        + b":%04X" % address[1]
        for packed in spellings
    }


def _row(text: bytes, spelling: bytes) -> tuple[int, int] | None:
    at = text.find(b": " + spelling + b" ")
    while at >= 0:
        end = text.find(b"\n", at)
        columns = text[at:end].split()
        # ": local remote state queues timer retransmits uid timeout inode"; 01 is ESTABLISHED
        if end > 0 and len(columns) > 9 and columns[3] == b"01" and columns[9] != b"0":
            return int(columns[9]), int(columns[7])
        at = text.find(b": " + spelling + b" ", at + 1)
    return None
