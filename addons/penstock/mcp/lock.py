"""The lock file ``mcp.lock.yaml``: servers, their tools, each tool's hashes and texts.

Written to be reviewed: sorted, one server after the other, descriptions as text. Read
strictly: a file that does not have this form is an error that names the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from penstock.mcp.pins import Pin, Tools

VERSION = 1
# A lock file of 10,000 tools is about 10 MiB; a larger one is a mistake.
FILE_BYTES_MAX = 32 * 2**20

HEAD = """\
# Tools of MCP servers as they were when this file was written.
# Written by `penstock mcp pin`; review changes like code. `penstock mcp diff` compares.
"""


def dump(servers: Mapping[str, Tools]) -> str:
    """The lock file's text."""
    document = {
        "version": VERSION,
        "servers": {
            server: {"tools": {name: _entry(tools[name]) for name in sorted(tools)}}
            for server, tools in sorted(servers.items())
        },
    }
    return HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def load(path: Path) -> dict[str, dict[str, Pin]]:
    """The pins of a lock file, by server and tool. Raises ValueError that says what is wrong."""
    if path.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
    try:
        document = yaml.load(path.read_text("utf-8"), _LOADER)  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from None
    known = isinstance(document, dict) and document.keys() == {"version", "servers"}
    if not known or document["version"] != VERSION:
        raise ValueError(f"{path}: not a lock file of version {VERSION}")
    servers = document["servers"] or {}
    if not isinstance(servers, dict):
        raise ValueError(f"{path}: 'servers' is not a mapping")
    return {
        str(server): {
            str(name): _pin(f"{path}: {server}: {name}", str(name), entry)
            for name, entry in _tools(f"{path}: {server}", listed).items()
        }
        for server, listed in servers.items()
    }


# The C loader reads a large lock file ten times as fast; both are safe loaders.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _entry(pin: Pin) -> dict[str, Any]:
    entry: dict[str, Any] = {"hash": pin.hash}
    if pin.title is not None:
        entry["title"] = pin.title
    if pin.description is not None:
        entry["description"] = pin.description
    entry["fields"] = dict(sorted(pin.fields.items()))
    return entry


def _tools(place: str, listed: Any) -> dict[Any, Any]:
    tools = listed.get("tools") if isinstance(listed, dict) else None
    if not isinstance(tools, dict):
        raise ValueError(f"{place}: 'tools' is not a mapping")
    return tools


def _pin(place: str, name: str, entry: Any) -> Pin:
    found = entry.get("hash") if isinstance(entry, dict) else None
    if not isinstance(found, str) or not found.startswith("sha256:"):
        raise ValueError(f"{place}: no 'hash' that starts with sha256:")
    fields = entry.get("fields") or {}
    if not isinstance(fields, dict):
        raise ValueError(f"{place}: 'fields' is not a mapping")
    return Pin(name, found, fields, entry.get("title"), entry.get("description"))
