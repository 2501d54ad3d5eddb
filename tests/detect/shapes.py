"""Makes test tokens from the rule data's examples: ``ghp_{A36}`` -> 36 letters and digits.

Nothing that looks like a real secret has to stand in the repository.
"""

from __future__ import annotations

import random
import re
import string

CLASSES = {
    "A": string.ascii_letters + string.digits,
    "L": string.ascii_letters,
    "a": string.ascii_lowercase + string.digits,
    "l": string.ascii_lowercase,
    "U": string.ascii_uppercase + string.digits,
    "x": "0123456789abcdef",
    "X": "0123456789ABCDEF",
    "d": string.digits,
    "w": string.ascii_letters + string.digits + "-_",
    "b": string.ascii_letters + string.digits + "+/",
    "Q": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    "Z": string.ascii_uppercase + "234567",
}
_SLOT = re.compile(r"\{([A-Za-z])(\d+)\}")


def expand(example: str, seed: int = 0) -> str:
    """A token of the example's shape; the same for the same seed."""
    source = random.Random(f"{example}/{seed}")

    def fill(match: re.Match[str]) -> str:
        letters = CLASSES[match[1]]
        return "".join(source.choice(letters) for _ in range(int(match[2])))

    return _SLOT.sub(fill, example)
