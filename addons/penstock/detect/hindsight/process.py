"""detect-secrets' plug-ins in a process of their own, with the lowest priority there is.

Started by ``second_look``. Its patterns hold the interpreter for milliseconds at a time, which
in a thread of the proxy would be every call's. Frames come in on stdin and go out on stdout:
four bytes of length, then the text (UTF-8), or what was found in it as JSON. The end of stdin
is its end; nothing of a text is ever written anywhere else.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import IO

from penstock.detect.hindsight.plugins import forms, plugins

NICE = 19
# The plug-ins and a piece of text need 50 MB.
MEMORY_BYTES_MAX = 1024 * 1024 * 1024
LENGTH_BYTES = 4


def write_frame(out: IO[bytes], data: bytes) -> None:
    """One frame, at once."""
    out.write(len(data).to_bytes(LENGTH_BYTES) + data)
    out.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame; None at the end."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    size = int.from_bytes(head)
    data = stream.read(size)
    return data if len(data) == size else None


def main() -> None:
    """Answer frame for frame until there are no more."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    plugins()
    while (data := read_frame(sys.stdin.buffer)) is not None:
        found = forms(data.decode("utf-8", "surrogatepass"))
        write_frame(sys.stdout.buffer, json.dumps(found).encode())


if __name__ == "__main__":
    main()
