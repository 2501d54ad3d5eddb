"""Reads one PDF from stdin and writes its texts to stdout as JSON: a process for one file.

Started by ``documents`` and stopped by it when time is up; its memory is limited here. Any
failure is an exit code: nothing of a file is ever written to stderr.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

# A PDF of 32 MB takes some 300 MB to read; more is a bomb.
MEMORY_BYTES_MAX = 1024 * 1024 * 1024
CPU_SECONDS_MAX = 20
PAGES_MAX = 2000
CHARACTERS_MAX = 16 * 1024 * 1024


def texts(raw: bytes) -> Iterator[str]:
    """One text for each page, and one for what is said beside the pages."""
    import logging

    from pypdf import PdfReader

    logging.disable(logging.CRITICAL)  # its warnings quote the file
    reader = PdfReader(BytesIO(raw), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("encrypted")
    if len(reader.pages) > PAGES_MAX:
        raise ValueError("too many pages")
    for page in reader.pages:
        yield page.extract_text()
        for note in page.get("/Annots") or ():
            yield from _strings(note.get_object(), ("/Contents", "/T", "/TU", "/V"))
            action = note.get_object().get("/A")
            if action is not None:
                yield from _strings(action.get_object(), ("/URI", "/JS"))
    described: dict[str, Any] = dict(reader.metadata or {})
    yield "\n".join(f"{name}: {value}" for name, value in described.items())
    fields = reader.get_form_text_fields() or {}
    yield "\n".join(f"{name}: {value}" for name, value in fields.items() if value)
    for name, contents in (reader.attachments or {}).items():
        yield name
        for content in contents:
            yield content.decode("utf-8", "ignore")


def _strings(holder: Any, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        value = holder.get(name)
        if isinstance(value, str):
            yield value


def main() -> int:
    """0 and the texts, or 1."""
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_CPU, CPU_SECONDS_MAX),
    ):
        with suppress(ValueError, OSError):  # a system without the limit, or with a lower one
            resource.setrlimit(limit, (most, most))
    found: list[str] = []
    size = 0
    try:
        for text in texts(sys.stdin.buffer.read()):
            size += len(text)
            if size > CHARACTERS_MAX:
                return 1
            found.append(text)
    except (Exception, RecursionError, MemoryError):  # noqa: BLE001 - a file of any kind of wrong
        return 1
    sys.stdout.write(json.dumps([text for text in found if text.strip()]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
