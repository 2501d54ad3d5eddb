"""What conditions can call besides CEL's own functions: SQL, URLs and paths in arguments.

Each answers with the cautious value where it cannot tell: false, or the empty text. So a rule
that refuses what is *not* certainly harmless needs no case for odd input.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from penstock.destinations import canonical_host
from penstock.policy.conditions import sql

# Longer ones are no addresses and no paths, and are not looked into.
TEXT_CHARACTERS_MAX = 4096
# Characters that readers of URLs drop or read differently.
_ODD_IN_URLS = re.compile(r"[\x00-\x20\x7f\\]")


def url_host(url: object) -> str:
    """The host an ``http`` or ``https`` URL certainly leads to; empty where readers may differ."""
    if not isinstance(url, str) or len(url) > TEXT_CHARACTERS_MAX or _ODD_IN_URLS.search(url):
        return ""
    if not url.lower().startswith(("http://", "https://")):
        return ""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return ""
    if "@" in parts.netloc or "%" in parts.netloc or not parts.netloc.isascii():
        return ""
    host = canonical_host(parts.hostname or "")
    last = host.rpartition(".")[2]
    numeric = last.isdigit() or last.startswith("0x")  # 2130706433 and 0x7f.1 lead to 127.0.0.1
    return "" if numeric and not _is_address(host) else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def path_within(path: object, folder: object) -> bool:
    """True when ``path`` is certainly inside ``folder`` (absolute), dot segments followed.

    However often it is percent-decoded, and whichever slash parts it. Links on the server's
    disk are beyond knowing.
    """
    if not isinstance(path, str) or not isinstance(folder, str):
        return False
    if len(path) > TEXT_CHARACTERS_MAX or "\0" in path:
        return False
    inside = _normal(folder)
    decoded = unquote(path)
    spellings = {path, decoded, unquote(decoded)}
    return all(one.startswith("/") and _within(_normal(one), inside) for one in spellings)


def _within(path: list[str], folder: list[str]) -> bool:
    return path[: len(folder)] == folder


def _normal(path: str) -> list[str]:
    kept: list[str] = []
    for segment in path.replace("\\", "/").split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return kept


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "sql_read_only": sql.read_only,
    "url_host": url_host,
    "path_within": path_within,
}


def function_problem(name: str) -> str | None:
    """Why a function of ours cannot be used on this installation, None when it can."""
    return sql.problem() if name == "sql_read_only" else None
