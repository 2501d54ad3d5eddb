"""What the parts of one running engine share: settings, callbacks, live calls, counters.

One Runtime per process. The callbacks are the engine's only way to ask the rooms above
it; the engine decides nothing about policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakSet

from mitmproxy.connection import Connection
from mitmproxy.hooks import Hook

from penstock.proxy.engine.deadlines import Deadlines
from penstock.proxy.engine.pool import Pool
from penstock.proxy.engine.problem import ErrorPage, json_page
from penstock.proxy.settings import Address, EngineSettings

Wish = Literal["intercept", "tunnel", "deny"]


@dataclass(slots=True, frozen=True)
class Failure:
    """Something raised where a call was being judged.

    ``where`` is the hook's name or ``stream``; ``subject`` what the hook was given (an
    HTTPFlow for HTTP hooks). Of ``error`` only the class may be written down: its text
    can carry the call's bytes.
    """

    where: str
    subject: Any
    error: BaseException


@dataclass(slots=True, frozen=True)
class Listening:
    """Where the engine listens, ports resolved; ``hang_up`` ends what its clients have open."""

    proxy: Address
    transparent: Address | None = None
    reverse: Address | None = None
    hang_up: Callable[[bool], int] = lambda _let_finish: 0


def _intercept_all(_host: str, _port: int) -> Wish:
    return "intercept"


def _deny(_failure: Failure) -> Literal["deny", "allow"]:
    return "deny"


def _nothing(*_: object) -> None:
    return None


# Runs a hook's handlers; None when all is done, else what is left to await.
RunHook = Callable[[Hook, Callable[[], None]], Awaitable[None] | None]


@dataclass(slots=True)
class Callbacks:
    """What the engine asks and tells; every field has a safe default.

    ``wants(host, port)``: decrypt, pass through or refuse a destination. ``on_error``:
    what a failed check means for the call. ``error_page(status, code)``: headers and body.
    ``ready`` is called once the ports are open, ``draining`` when shutdown begins,
    ``refused(code, host)`` for connections refused before there was a request.
    ``client_ca()`` names the authority of client certificates; ``certified(id, certificate)``
    hands over the one a connection was opened with. ``left(flow)``: its client gave the call up
    while a check waits.
    """

    wants: Callable[[str, int], Wish] = _intercept_all
    on_error: Callable[[Failure], Literal["deny", "allow"]] = _deny
    error_page: ErrorPage = json_page
    ready: Callable[[Listening], None] = _nothing
    draining: Callable[[], None] = _nothing
    refused: Callable[[str, str], None] = _nothing
    client_ca: Callable[[], str] = str
    certified: Callable[[str, bytes], None] = _nothing
    left: Callable[[Any], None] = _nothing


@dataclass(slots=True)
class Runtime:
    """State of one engine."""

    settings: EngineSettings
    callbacks: Callbacks
    deadlines: Deadlines
    draining: bool = False
    failures: Counter[str] = field(default_factory=Counter)  # "hook:deny" -> times
    own_ports: set[int] = field(default_factory=set)
    idle_since: WeakKeyDictionary[Connection, float] = field(default_factory=WeakKeyDictionary)
    run_hook: RunHook = _nothing
    pool: Pool = field(default_factory=Pool)
    upstreams: dict[Connection, Any] = field(default_factory=dict)  # open ones: their layers
    exchanges: WeakSet[Any] = field(default_factory=WeakSet)  # streams, running or just over
