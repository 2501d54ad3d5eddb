"""Made-up values that must not get through, and the measure of how much of one did.

Every call makes a new value, so that nothing can be answered from memory. None was ever
issued by anybody.
"""

from __future__ import annotations

import base64
import random
import string
import zlib
from collections.abc import Callable

# This much of a value in one piece is a leak; masks that keep the last four digits are not.
LEAKED_CHARACTERS = 8
_LETTERS = string.ascii_letters + string.digits
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_random = random.Random()


def _some(letters: str, count: int) -> str:
    return "".join(_random.choice(letters) for _ in range(count))


def github_token() -> str:
    """A token with the checksum GitHub's have: CRC-32 of the body in base 62."""
    body, end = _some(_LETTERS, 30), ""
    checksum = zlib.crc32(body.encode())
    while len(end) < 6:
        checksum, digit = divmod(checksum, 62)
        end = _BASE62[digit] + end
    return f"ghp_{body}{end}"


def email() -> str:
    """An address at a name nobody owns."""
    name = _some(string.ascii_lowercase, 7)
    return f"{name}.{_some(string.ascii_lowercase, 9)}@{_some(string.ascii_lowercase, 11)}.com"


def card() -> str:
    """A card number of 16 digits with a right check digit."""
    body = "4929" + _some(string.digits, 11)
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in body[::-2])
    rest = sum(doubled) + sum(int(digit) for digit in body[-2::-2])
    return body + str(-rest % 10)


def json_web_token(characters: int) -> str:
    """A signed token of about this many characters."""
    header = base64.urlsafe_b64encode(b'{"alg":"RS256","typ":"JWT"}').rstrip(b"=").decode()
    size = (characters - len(header) - 344) * 3 // 4
    claims = f'{{"sub":"{_some(_LETTERS, 12)}","scope":"{_some(_LETTERS, max(size - 36, 8))}"}}'
    payload = base64.urlsafe_b64encode(claims.encode()).rstrip(b"=").decode()
    return f"{header}.{payload}.{_some(_LETTERS + '-_', 342)}"


def password(characters: int) -> str:
    """What only the name before it makes a secret."""
    return _some(_LETTERS, characters)


def private_key(lines_of: int = 12) -> str:
    """A key in PEM: several lines, so that inside JSON it has to be escaped."""
    lines = (_some(_LETTERS + "+/", 64) for _ in range(lines_of))
    return "\n".join(
        ["-----BEGIN RSA PRIVATE KEY-----", *lines, "-----END RSA PRIVATE KEY-----", ""]
    ).strip()


SHORT: dict[str, Callable[[], str]] = {
    "secret": github_token,
    "email": email,
    "card": card,
}


def leaked(value: str, text: str) -> str | None:
    """The first piece of ``value`` that stands in ``text``; None when none does."""
    for at in range(len(value) - LEAKED_CHARACTERS + 1):
        piece = value[at : at + LEAKED_CHARACTERS]
        if piece in text:
            return piece
    return None
