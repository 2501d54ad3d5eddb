"""HAR 1.2 entries as recorded exchanges, in the schema ``inspect`` reads.

Browsers write bodies decoded, so a content-encoding in the headers no longer holds and is
dropped. Nothing raises on odd entries: what is missing is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.wire.loose import as_dict, as_dicts, as_text, at


def is_har(document: Any) -> bool:
    """True for a HAR document."""
    return isinstance(at(document, "log", "entries"), list)


def har_lines(document: Any) -> Iterator[dict[str, Any]]:
    """One recorded exchange per entry."""
    for entry in as_dicts(at(document, "log", "entries")):
        request, response = as_dict(entry.get("request")), as_dict(entry.get("response"))
        content = as_dict(response.get("content"))
        posted = as_dict(request.get("postData"))
        yield {
            "request": {
                "method": request.get("method"),
                "url": request.get("url"),
                "headers": _headers(request),
                "body": as_text(posted.get("text")) or "",
                "encoding": as_text(posted.get("encoding")) or "text",
            },
            "response": {
                "status": response.get("status"),
                "headers": _headers(response),
                "body": as_text(content.get("text")) or "",
                "encoding": as_text(content.get("encoding")) or "text",
            },
        }


def _headers(side: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in as_dicts(side.get("headers")):
        name, value = as_text(header.get("name")), as_text(header.get("value"))
        if name and value is not None and name.lower() != "content-encoding":
            lower = name.lower()
            found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found
