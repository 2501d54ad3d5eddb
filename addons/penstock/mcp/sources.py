"""Tool definitions from what a person points at: a server's URL, a saved list, recordings.

Recordings are JSONL with ``request`` and ``response`` objects (``method``, ``url``,
``headers``, ``body``, ``encoding``), as ``penstock inspect`` reads them.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.mcp.discovery import Session
from penstock.mcp.servers import url_of
from penstock.wire.framing.sse import SseParser
from penstock.wire.loose import as_dict, as_dicts, as_text, at

# A recording of one day of one pod stays below this.
FILE_BYTES_MAX = 512 * 2**20
EVENT_BYTES_MAX = 32 * 2**20

Definitions = dict[str, list[dict[str, Any]]]


def canonical_url(url: str) -> str:
    """How a lock file names the server at ``url``: no query, default port left out."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return url_of(parts.scheme, parts.hostname or "", port, parts.path)


def from_server(url: str, headers: dict[str, str], ca_file: str | None) -> Definitions:
    """The list of a running server; raises ``discovery.Unreachable``."""
    return {canonical_url(url): Session(url, headers, ca_file).tools()}


def from_file(path: Path, server: str | None) -> Definitions:
    """A saved ``tools/list`` answer (of ``server``), or the lists in a recording.

    Raises ValueError when the file holds no list, or one without a known server.
    """
    if path.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
    text = path.read_text("utf-8")
    try:
        saved = json.loads(text)
    except ValueError:
        return _from_recording(path, text)
    if isinstance(saved, dict) and "request" in saved:
        return _from_recording(path, text)
    listed = (
        saved if isinstance(saved, list) else at(saved, "result", "tools") or at(saved, "tools")
    )
    if not isinstance(listed, list):
        raise ValueError(f"{path}: neither a tools/list answer nor recorded exchanges")
    if server is None:
        raise ValueError(f"{path}: say which server it is of, with --server URL")
    return {canonical_url(server): as_dicts(listed)}


def _from_recording(path: Path, text: str) -> Definitions:
    found: Definitions = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            exchange = as_dict(json.loads(line))
        except ValueError:
            raise ValueError(f"{path}:{number}: not JSON") from None
        url = as_text(at(exchange, "request", "url"))
        for message in _messages(as_dict(exchange.get("response"))):
            listed = at(message, "result", "tools")
            if url and isinstance(listed, list):
                found.setdefault(canonical_url(url), []).extend(as_dicts(listed))
    if not found:
        raise ValueError(f"{path}: no tools/list answer in it")
    return {server: _latest(tools) for server, tools in found.items()}


def _latest(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One definition per name, the last one seen: a recording holds many lists."""
    return list({str(tool.get("name")): tool for tool in tools}.values())


def _messages(response: dict[str, Any]) -> list[Any]:
    body = as_text(response.get("body")) or ""
    try:
        data = base64.b64decode(body) if response.get("encoding") == "base64" else body.encode()
    except (binascii.Error, ValueError):
        return []
    pieces = [data]
    if not data.lstrip().startswith(b"{"):
        parser = SseParser(EVENT_BYTES_MAX)
        pieces = [event.data or b"" for event in [*parser.feed(data), *parser.end()]]
    found = []
    for piece in pieces:
        try:
            found.append(json.loads(piece))
        except (ValueError, RecursionError):
            continue
    return found
