"""Named checks of the token rules: they refuse a candidate or weigh it.

Each check takes the secret, the text it stands in and its place, and answers a score
between 0 and 1, or None to refuse. A checksum that agrees makes a finding certain; one
that does not agree lowers the score only, because a mistyped or cut token is still one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable

from penstock.detect.secrets.randomness import classes

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# How far before a bare 256-bit number a word must stand that makes it a wallet key.
_WALLET_REACH = 120
_WALLET_WORDS = ("wallet", "private", "eth", "mnemonic", "signer", "account", "forgot", "key")

STRUCTURE = 0.9  # the format alone
CERTAIN = 1.0  # a checksum agrees
DOUBTFUL = 0.7  # a checksum disagrees


def crc_base62(payload: str) -> str:
    """The six base62 digits of a CRC-32, as GitHub and npm append them to their tokens."""
    number = zlib.crc32(payload.encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def _tail_crc(value: str, text: str, start: int, end: int) -> float | None:
    body = value.split("_", 1)[1]
    return CERTAIN if crc_base62(body[:-6]) == body[-6:] else DOUBTFUL


def _pypi_macaroon(value: str, text: str, start: int, end: int) -> float | None:
    """A PyPI token is a version 2 macaroon whose location is pypi.org or test.pypi.org."""
    body = value[5:]
    try:
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except (ValueError, binascii.Error):
        return DOUBTFUL
    return CERTAIN if raw[:2] == b"\x02\x01" and b"pypi.org" in raw[:20] else DOUBTFUL


def _mixed(value: str, text: str, start: int, end: int) -> float | None:
    """Letters and digits, and both cases: not a word, not a constant."""
    lower, upper, digits, _ = classes(value)
    return STRUCTURE if digits and lower + upper >= 4 and (lower and upper) else None


def _mixed_case(value: str, text: str, start: int, end: int) -> float | None:
    lower, upper, _, _ = classes(value)
    return STRUCTURE if lower >= 4 and upper >= 4 else None


def _upper_and_digit_mix(value: str, text: str, start: int, end: int) -> float | None:
    """Upper-case identifiers: refuse plain words and vendors' documented EXAMPLE values."""
    if value.endswith("EXAMPLE"):
        return None
    _, upper, _, _ = classes(value)
    return STRUCTURE if upper >= 4 else None


def _digit_and_letter(value: str, text: str, start: int, end: int) -> float | None:
    lower, upper, digits, _ = classes(value)
    return STRUCTURE if digits and lower + upper else None


def _hex_mix(value: str, text: str, start: int, end: int) -> float | None:
    lower, upper, digits, _ = classes(value)
    return STRUCTURE if digits >= 4 and lower + upper >= 4 and len(set(value)) >= 8 else None


def _slack(value: str, text: str, start: int, end: int) -> float | None:
    """Slack tokens carry team and user numbers; a name in their place is documentation."""
    return STRUCTURE if sum(c.isdigit() for c in value) >= 6 else None


def _wallet_context(value: str, text: str, start: int, end: int) -> float | None:
    near = text[max(0, start - _WALLET_REACH) : end + _WALLET_REACH].lower()
    return 0.7 if any(word in near for word in _WALLET_WORDS) else None


def _base58check(value: str, text: str, start: int, end: int) -> float | None:
    """Wallet import format: the last four bytes are a double SHA-256 of the rest."""
    number = 0
    for char in value:
        number = number * 58 + _BASE58.index(char)
    raw = number.to_bytes(64).lstrip(b"\0")
    if len(raw) not in (37, 38):
        return None
    digest = hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()
    return CERTAIN if digest[:4] == raw[-4:] else None


def _service_account(value: str, text: str, start: int, end: int) -> float | None:
    """A service account file is a secret when it holds its key; the label alone is not."""
    return STRUCTURE if "private_key" in text[max(0, start - 4000) : end + 4000] else None


def _not_example(value: str, text: str, start: int, end: int) -> float | None:
    """AWS documents one secret key; it ends in EXAMPLEKEY."""
    return None if value.endswith("EXAMPLEKEY") else STRUCTURE


def _base64_pair(value: str, text: str, start: int, end: int) -> float | None:
    """Base64 of user:password, as HTTP basic authentication and Docker's config hold it."""
    try:
        user, colon, password = base64.b64decode(value + "=" * (-len(value) % 4)).partition(b":")
    except (ValueError, binascii.Error):
        return None
    return STRUCTURE if colon and user.isascii() and password.isascii() and password else None


def _jfrog(value: str, text: str, start: int, end: int) -> float | None:
    """Upper-case words start like it; a token has digits inside (or was crossed out)."""
    _, _, digits, _ = classes(value[3:])
    return STRUCTURE if digits >= 2 or value[3:] == "x" * len(value[3:]) else None


def _nkey_crc(value: str, text: str, start: int, end: int) -> float | None:
    """A seed of NATS: base32 whose last two bytes are a CRC-16 of the rest."""
    raw = base64.b32decode(value + "=" * (-len(value) % 8))
    return CERTAIN if binascii.crc_hqx(raw[:-2], 0).to_bytes(2, "little") == raw[-2:] else None


Check = Callable[[str, str, int, int], float | None]
CHECKS: dict[str, Check] = {
    "jfrog": _jfrog,
    "service_account": _service_account,
    "not_example": _not_example,
    "base64_pair": _base64_pair,
    "github_crc": _tail_crc,
    "npm_crc": _tail_crc,
    "pypi_macaroon": _pypi_macaroon,
    "mixed": _mixed,
    "mixed_case": _mixed_case,
    "upper_and_digit_mix": _upper_and_digit_mix,
    "digit_and_letter": _digit_and_letter,
    "hex_mix": _hex_mix,
    "slack": _slack,
    "wallet_context": _wallet_context,
    "base58check": _base58check,
    "nkey_crc": _nkey_crc,
}
