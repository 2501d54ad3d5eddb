"""Which MCP server a rule means, and which one a call goes to.

A rule names a server by URL (``https://api.example.com/mcp/*``), by host (``*.example.com``)
or as ``*``. Matching is generous on purpose: what governs one spelling of a URL governs every
spelling a server would take for the same place, or the rule could be walked around.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from penstock.destinations import canonical_host, matches, pattern_problem

# URLs remembered in parsed form: rules are few, servers a pod talks to are dozens.
REMEMBERED_MAX = 1024
# Longer URLs are cut: no server's address is this long, and the rest is session state.
URL_CHARACTERS_MAX = 2048

_DEFAULT_PORTS = {"http": 80, "https": 443}


class ServerUrl(NamedTuple):
    """A server's address in one spelling. ``port`` is None in a rule that names none."""

    host: str
    port: int | None
    path: str


def origin(scheme: str, host: str, port: int) -> str:
    """``https://host[:port]``: what a lock file and a report call the server by.

    A server on this machine that is spoken to by pipe has a name and no port: ``stdio://name``.
    """
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" + ("" if _DEFAULT_PORTS.get(scheme, 0) == port else f":{port}")


def url_of(scheme: str, host: str, port: int, path: str) -> str:
    """The server's URL without the query, where session ids and keys travel."""
    return origin(scheme, host, port) + path.partition("?")[0]


def server_problem(pattern: str) -> str | None:
    """What is wrong with a rule's ``server``, or None."""
    host, _, _ = _split(pattern)
    return None if pattern == "*" else pattern_problem(host)


def governs(pattern: str, url: str) -> bool:
    """True when a rule for ``pattern`` governs calls to the MCP server at ``url``.

    Scheme, query and letter case do not matter, nor do doubled slashes, dot segments and
    percent-encoding in the path. Without a port the rule governs every port of its hosts.
    ``*`` in the path stands for any characters; ``/mcp/*`` covers ``/mcp`` as well, and a
    pattern without a path covers the whole host.
    """
    if pattern == "*":
        return True
    host, path, has_path = _split(pattern)
    called = _address(url)
    if called is None or not matches(host, called.host, called.port):
        return False
    return not has_path or _path_fits(_normal(path), called.path)


@lru_cache(REMEMBERED_MAX)
def _split(pattern: str) -> tuple[str, str, bool]:
    """Host part (with port), path and whether there was one, of a rule's server."""
    _, scheme, rest = pattern.partition("://")
    host, slash, path = (rest if scheme else pattern).partition("/")
    return host, "/" + path, bool(slash and path)


@lru_cache(REMEMBERED_MAX)
def _address(url: str) -> ServerUrl | None:
    try:
        parts = urlsplit(url[:URL_CHARACTERS_MAX])
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    host = canonical_host(parts.hostname or "")
    return ServerUrl(host, port, _normal(parts.path)) if host else None


def _normal(path: str) -> str:
    """A path as the most forgiving server would read it."""
    kept: list[str] = []
    for segment in unquote(unquote(path)).replace("\\", "/").casefold().split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept)


def _path_fits(pattern: str, path: str) -> bool:
    if pattern.endswith("/*") and path == pattern[:-2]:
        return True
    return wildcard(pattern, path)


def wildcard(pattern: str, text: str) -> bool:
    """Glob match with ``*`` (any characters) and ``?`` (one); linear in practice and bounded:
    each star is placed once, at its earliest fit, so time is at most pattern times text.
    """
    at = star = 0
    star_at, placed = -1, 0
    while at < len(text):
        if star < len(pattern) and pattern[star] == "*":
            star_at, placed, star = star, at, star + 1
        elif star < len(pattern) and pattern[star] in ("?", text[at]):
            at, star = at + 1, star + 1
        elif star_at >= 0:
            placed += 1
            at, star = placed, star_at + 1
        else:
            return False
    return all(mark == "*" for mark in pattern[star:])
