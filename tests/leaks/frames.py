"""AWS event stream frames, written and read with both checksums.

Source: Amazon Transcribe developer guide, "Event stream encoding" (the same encoding).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any


def frame(kind: str, document: dict[str, Any], message: str = "event") -> bytes:
    """One event (or ``message="exception"``) of this type with a JSON payload."""
    headers = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(text)) + text
        for name, text in (
            (f":{message}-type", kind.encode()),
            (":content-type", b"application/json"),
            (":message-type", message.encode()),
        )
    )
    payload = json.dumps(document).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    whole = prelude + headers + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def documents(data: bytes) -> Iterator[dict[str, Any]]:
    """The payloads of all frames; an assertion fails where a checksum is wrong."""
    while data:
        total, headers = struct.unpack(">II", data[:8])
        message, data = data[:total], data[total:]
        assert zlib.crc32(message[:8]) == struct.unpack(">I", message[8:12])[0]
        assert zlib.crc32(message[:-4]) == struct.unpack(">I", message[-4:])[0]
        yield json.loads(message[12 + headers : -4])
