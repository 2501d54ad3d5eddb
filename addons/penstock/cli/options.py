"""The options ``run`` and ``exec`` share, and where state lives by default."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import click

Address = tuple[str, int]
Scheme = Literal["http", "https"]
ReverseServer = tuple[Address, Scheme, Address]


@dataclass(slots=True, frozen=True)
class ProxyOptions:
    """What the command line says about a proxy; see ``proxy_options`` for the meaning of each."""

    listen: Address
    admin: Address
    policies: tuple[Path, ...]
    mode: Literal["observe", "shadow", "enforce"] | None
    state_dir: Path
    upstream_ca: Path | None
    connect_to: dict[Address, Address]
    transparent: Address | None
    http2: bool
    drain_seconds: float
    body_mib: int
    reverse: ReverseServer | None = None
    store: str | None = field(default=None, repr=False)  # may hold a password


def default_state_dir() -> Path:
    """``PENSTOCK_STATE_DIR``, else ``$XDG_STATE_HOME/penstock`` (``~/.local/state/penstock``)."""
    if stated := os.environ.get("PENSTOCK_STATE_DIR"):
        return Path(stated)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "penstock"


class AddressType(click.ParamType[Address]):
    """HOST:PORT, ``[v6]:PORT`` or :PORT (loopback)."""

    name = "HOST:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT, for example 127.0.0.1:8080", param, ctx)
        return host.strip("[]") or "127.0.0.1", int(port)


class ConnectToType(click.ParamType[tuple[Address, Address]]):
    """HOST:PORT=ADDR:PORT."""

    name = "HOST:PORT=ADDR:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Address, Address]:
        if isinstance(value, tuple):
            return value
        name, equals, target = str(value).partition("=")
        if not equals:
            example = "api.openai.com:443=127.0.0.1:9443"
            self.fail(f"{value!r} is not HOST:PORT=ADDR:PORT, for example {example}", param, ctx)
        address = AddressType()
        host, port = address.convert(name, param, ctx)
        return (host.lower(), port), address.convert(target, param, ctx)


class ReverseType(click.ParamType[ReverseServer]):
    """HOST:PORT=URL, the URL without a path: a port that stands for one server."""

    name = "HOST:PORT=URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ReverseServer:
        if isinstance(value, tuple):
            return value
        name, _, url = str(value).partition("=")
        try:
            parts = urlsplit(url)
            default = {"http": 80, "https": 443}.get(parts.scheme)
            port = default and (parts.port or default)
        except ValueError:
            parts, port = urlsplit(""), None
        beside = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if port is None or not parts.hostname or beside:
            example = "127.0.0.1:8081=https://mcp.example.com"
            self.fail(f"{value!r} is not HOST:PORT=URL without a path: {example}", param, ctx)
        listen = AddressType().convert(name, param, ctx)
        scheme: Scheme = "https" if parts.scheme == "https" else "http"
        return listen, scheme, (parts.hostname, port)


class StoreType(click.ParamType[str]):
    """A URL of meter/store_url.py. What is wrong is said without repeating it."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from penstock.meter.store_url import read_store_url

        try:
            read_store_url(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


# Where the rules are, and what is kept: everything that governs calls has these.
GOVERNING = (
    click.option(
        "--policy",
        "policies",
        type=click.Path(path_type=Path),
        multiple=True,
        envvar="PENSTOCK_POLICY",
        show_envvar=True,
        help="Policy file or shipped name (observe, default, strict, containment); repeatable. "
        "Default: the shipped policy 'default'.",
    ),
    click.option(
        "--mode",
        type=click.Choice(["observe", "shadow", "enforce"]),
        envvar="PENSTOCK_MODE",
        show_envvar=True,
        help="Overrides the policy's mode: look only, decide without acting, act.",
    ),
    click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=default_state_dir,
        show_default="the user's state directory",
        help="CA, audit log, inventory.",
    ),
    click.option(
        "--store",
        type=StoreType(),
        envvar="PENSTOCK_STORE",
        show_envvar=True,
        help="Share limits with other proxies through this Redis or Valkey: redis://HOST:PORT. "
        "Default: the policy's 'store', else each proxy has its own.",
    ),
)

OPTIONS = (
    click.option(
        "--listen",
        type=AddressType(),
        default="127.0.0.1:8080",
        envvar="PENSTOCK_LISTEN",
        show_envvar=True,
        show_default=True,
        help="Where clients connect (HTTPS_PROXY). Port 0 picks a free one.",
    ),
    click.option(
        "--admin",
        type=AddressType(),
        default="127.0.0.1:9900",
        envvar="PENSTOCK_ADMIN",
        show_envvar=True,
        show_default=True,
        help="Health, readiness and metrics.",
    ),
    *GOVERNING,
    click.option(
        "--upstream-ca",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        envvar="PENSTOCK_UPSTREAM_CA",
        show_envvar=True,
        help="PEM file of roots trusted for upstream servers, besides the public ones.",
    ),
    click.option(
        "--connect-to",
        type=ConnectToType(),
        multiple=True,
        help="Dial ADDR:PORT for HOST:PORT; the name stays. Private endpoints, local servers.",
    ),
    click.option(
        "--transparent",
        type=AddressType(),
        help="Also take redirected connections here (pods: 127.0.0.1:15001).",
    ),
    click.option(
        "--reverse",
        type=ReverseType(),
        help="Also listen on HOST:PORT for one server, for clients that take a URL and no proxy.",
    ),
    click.option("--http2/--no-http2", default=False, help="Offer HTTP/2 to clients."),
    click.option(
        "--drain-seconds",
        type=click.FloatRange(min=0),
        default=25.0,
        show_default=True,
        help="How long running answers may take after SIGTERM.",
    ),
    click.option(
        "--body-mib",
        type=click.IntRange(min=1, max=1024),
        default=32,
        show_default=True,
        help="Largest request body, and largest answer that is not streamed.",
    ),
)


def with_options(options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """Add options to a command, in their order."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def proxy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the proxy options to a command; it receives them as one ``options`` argument."""

    @wraps(function)
    def gathered(**values: Any) -> Any:
        names = ProxyOptions.__dataclass_fields__
        taken = {name: values.pop(name) for name in list(values) if name in names}
        taken["connect_to"] = dict(taken["connect_to"])
        return function(options=ProxyOptions(**taken), **values)

    for option in reversed(OPTIONS):
        gathered = option(gathered)
    return gathered
