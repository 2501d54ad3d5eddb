"""What the engine is told at start: addresses, files, limits. Plain values, no behaviour.

Every limit has its reason beside it. Nothing here is read from a file or the environment;
the command line fills it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Address = tuple[str, int]

# SDKs of the large providers wait ten minutes for an answer; a proxy that gives up earlier
# would change what the caller sees.
FIRST_BYTE_SECONDS = 600.0
# Reasoning models may be silent inside a stream for minutes; cloud load balancers and NAT
# gateways drop silent connections at 350 s, so a longer silence is a dead connection.
IDLE_SECONDS = 345.0
# TCP and name resolution only: two SYN retransmissions (1 s + 2 s) and a slow resolver.
CONNECT_SECONDS = 15.0
# Load balancers close idle connections after 60 s or more, NAT gateways forget them without a
# word. A connection that old is not used again: a call sent into it would wait for nothing.
REUSE_SECONDS = 50.0
# Kubernetes grants 30 s between SIGTERM and SIGKILL; leave five to write the last records.
DRAIN_SECONDS = 25.0
# Four times what common servers accept (nginx 8-32 KiB, Node 16 KiB): long tokens fit.
HEAD_BYTES = 64 * 1024
# Largest request body of the large providers' JSON APIs (Anthropic: 32 MB).
BODY_BYTES = 32 * 1024 * 1024


@dataclass(slots=True, frozen=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    head_bytes: int = HEAD_BYTES
    request_body_bytes: int = BODY_BYTES
    answer_body_bytes: int = BODY_BYTES  # buffered answers; a streamed one has no limit
    connect_seconds: float = CONNECT_SECONDS
    first_byte_seconds: float = FIRST_BYTE_SECONDS  # from the request's last byte to the head
    idle_seconds: float = IDLE_SECONDS  # between two pieces of an answer's body
    reuse_seconds: float = REUSE_SECONDS  # how long an idle upstream connection is kept in use
    drain_seconds: float = DRAIN_SECONDS


@dataclass(slots=True, frozen=True)
class Reverse:
    """A port that stands for one server: requests to ``listen`` go to ``target``."""

    listen: Address
    scheme: Literal["http", "https"]
    target: Address


@dataclass(slots=True, frozen=True)
class EngineSettings:
    """One engine. ``admin`` is only known here so that nothing reaches it through the proxy.

    ``connect_to`` sends connections for HOST:PORT to ADDRESS:PORT while the destination
    keeps its name (SNI, Host, certificate check); it also is the only way through the
    guard to loopback and link-local addresses.
    """

    state_dir: Path
    listen: Address = ("127.0.0.1", 8080)
    transparent: Address | None = None
    reverse: Reverse | None = None
    admin: Address | None = None
    upstream_ca: Path | None = None
    connect_to: Mapping[Address, Address] = field(default_factory=dict)
    tls_certificate: Path | None = None  # of the proxy's own port, which then speaks TLS
    tls_key: Path | None = None
    http2: bool = False
    reuse_port: bool = False  # several processes on one port
    limits: Limits = field(default_factory=Limits)
