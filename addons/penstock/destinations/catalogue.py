"""The catalogue of AI services and its look-up: host (and path) in, Destination out.

A catalogue host covers itself and every name below it, on a label boundary; the longest
match wins. Hosts that carry a tenant or region in a label (``bedrock-runtime.*.amazonaws.com``)
are patterns, tried first: ``*`` is one label, ``*-x`` a label with that ending.
Nothing is fetched: the data is ``hosts.json`` beside this module, read on first use.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

from penstock.destinations.patterns import REMEMBERED_MAX, canonical_host
from penstock.exchange import Category, Destination


class Service(NamedTuple):
    """One catalogue row. ``path`` is set on hosts that also serve much that is not AI."""

    host: str
    provider: str
    category: Category
    source: str
    path: str | None = None


class Catalogue(NamedTuple):
    """All rows, indexed: names by themselves, patterns by their last two labels."""

    services: dict[str, Service]
    patterns: dict[str, list[tuple[list[str], Service]]]
    sources: dict[str, str]


@cache
def load() -> Catalogue:
    """Read the package's own data; a broken file is a broken installation and raises."""
    text = resources.files(__package__).joinpath("hosts.json").read_text(encoding="utf-8")
    data = json.loads(text)
    services = {row[0]: Service(*row) for row in data["hosts"]}
    patterns: dict[str, list[tuple[list[str], Service]]] = {}
    for row in data["patterns"]:
        labels = row[0].split(".")
        patterns.setdefault(".".join(labels[-2:]), []).append((labels, Service(*row)))
    return Catalogue(services, patterns, data["sources"])


def _label_fits(wanted: str, label: str) -> bool:
    if wanted.startswith("*"):
        return len(label) >= len(wanted) and label.endswith(wanted[1:])
    return wanted == label


def _fits(wanted: Sequence[str], labels: Sequence[str]) -> bool:
    return len(wanted) == len(labels) and all(map(_label_fits, wanted, labels))


@lru_cache(REMEMBERED_MAX)
def _services(host: str) -> tuple[Service, ...]:
    """All rows that cover ``host``, most specific first."""
    catalogue = load()
    labels = canonical_host(host).split(".")
    found = [
        service
        for wanted, service in catalogue.patterns.get(".".join(labels[-2:]), ())
        if _fits(wanted, labels)
    ]
    names = (".".join(labels[start:]) for start in range(len(labels)))
    found += [catalogue.services[name] for name in names if name in catalogue.services]
    return tuple(found)


@lru_cache(REMEMBERED_MAX)
def _destination(host: str, port: int, service: Service | None) -> Destination:
    name = canonical_host(host) or host
    if service is None:
        return Destination(name, port)
    return Destination(
        name,
        port,
        provider=service.provider,
        category=service.category,
        broad=service.path is not None,
        known=True,
        source=f"{service.source}: {service.host}",
    )


def _under(path: str, prefix: str) -> bool:
    """True when ``path`` is ``prefix`` or below it, on a segment boundary."""
    if not path.startswith(prefix):
        return False
    rest = path[len(prefix) :]
    return prefix.endswith("/") or not rest or rest[0] in "/?#:"


def identify(host: str, port: int, path: str = "/") -> Destination:
    """What the catalogue knows about ``host``; ``known`` is False when it knows nothing.

    ``path`` (with or without query) matters only on broad hosts that name the part of them
    which is AI. Costs about a microsecond for a host seen before.
    """
    for service in _services(host):
        if service.path is None or _under(path, service.path):
            return _destination(host, port, service)
    return _destination(host, port, None)


def is_ai(host: str, port: int) -> bool:
    """True when a connection to ``host`` is to be read under ``intercept: ai``.

    This is asked at the ClientHello, where no path is known yet: broad hosts (a search
    engine, a note-taking service) are left alone there unless a rule names them.
    """
    return any(service.path is None for service in _services(host)) and port > 0


def by_shape(destination: Destination, api: str) -> Destination:
    """The destination again, after the call's own shape was read.

    A host the catalogue does not know, but whose traffic speaks family ``api``, is an
    unknown AI service (or an MCP server). It gets no provider name: speaking OpenAI's wire
    format does not make a host OpenAI. A known host that serves MCP is an MCP server here.
    """
    if api.startswith("mcp."):
        if destination.category == "mcp":
            return destination
        source = destination.source or f"shape: {api}"
        return replace(destination, category="mcp", broad=False, source=source)
    if destination.known or not api or api.startswith("unknown"):
        return destination
    return replace(destination, category="unknown_ai", source=f"shape: {api}")
