"""Where money is: payment cards, IBANs, crypto addresses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from penstock.detect.nearby import bare, word_near
from penstock.detect.personal.check_digits import luhn, mod97, uniform
from penstock.detect.probe import Probe
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

# ISO 13616 registry: total length of an IBAN by country.
IBAN_LENGTHS = {
    code: int(length)
    for code, length in re.findall(
        r"([A-Z]{2}):([0-9]{2})",
        (
            "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 "
            "CY:28 CZ:24 DE:22 DJ:27 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 "
            "GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 "
            "KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 "
            "MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 "
            "RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 "
            "UA:29 VA:22 VG:24 XK:20 YE:30"
        ),
    )
}
_IBAN = r"(?i:[A-Z]{2})[0-9]{2}[ -]?(?i:[0-9A-Z]{2,4}[ -]?){2,8}"
_CARD = r"[1-6](?:[ -]?[0-9]){11,18}"
_CARD_WORDS = (
    "card",
    "cc",
    "credit",
    "debit",
    "visa",
    "maestro",
    "mastercard",
    "amex",
    "carte",
    "karte",
    "tarjeta",
    "pan",
)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BITCOIN = r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b|\b(?:bc1|BC1)[0-9a-zA-Z]{11,71}\b"
_ETHEREUM = r"\b0x[0-9a-fA-F]{40}\b"


def account_probes() -> list[Probe]:
    """Cards, IBANs, wallets."""
    return [
        Probe("pii.card", ("pii.card",), _CARD, _cards, "digits"),
        Probe(
            "pii.iban",
            ("pii.iban",),
            _IBAN,
            _ibans,
            "codes",
            r"(?i:[A-Z]{2})[0-9]{2}[ -]?[0-9A-Za-z]{2}",
        ),
        Probe("pii.crypto_address", ("pii.crypto_address",), _BITCOIN, _bitcoin, "runs"),
        Probe("pii.crypto_address#eth", ("pii.crypto_address",), _ETHEREUM, _ethereum, "runs"),
    ]


_card = Pattern(_CARD)
_iban = Pattern(_IBAN)
_bitcoin_pattern = Pattern(_BITCOIN)
_ethereum_pattern = Pattern(_ETHEREUM)


def _cards(view: View) -> Iterator[Finding]:
    text = view.text
    for start, end, _, _ in view.spans(_card):
        if (start and (text[start - 1].isalnum() or text[start - 1] in ".-_+")) or text[
            end : end + 1
        ].isalnum():
            continue
        digits = "".join(c for c in text[start:end] if c.isdigit())
        separators = {c for c in text[start:end] if not c.isdigit()}
        if len(separators) > 1 or uniform(digits) or not luhn(digits):
            continue
        if _issued(digits):
            yield Finding("pii.card", start, end, 0.95, "pii.card")
        elif (
            12 <= len(digits) <= 19
            and digits[0] in "3456"
            and (word_near(text, start, end, _CARD_WORDS) or bare(text, start, end))
        ):
            yield Finding("pii.card", start, end, 0.8, "pii.card")


def _issued(digits: str) -> bool:
    """ISO/IEC 7812 ranges in use, at their usual lengths."""
    two, size = int(digits[:2]), len(digits)
    if digits[0] == "4" or 51 <= two <= 55 or 22 <= two <= 27 or two in (35, 60, 62, 64, 65):
        return size == 16
    if two in (34, 37) or digits[:4] in ("2131", "1800"):
        return size == 15
    return two in (30, 36, 38, 39) and size == 14


def _ibans(view: View) -> Iterator[Finding]:
    text = view.text
    for start, end, _, _ in view.spans(_iban):
        length = IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None or (start and text[start - 1].isalnum()):
            continue
        stop = _take(text, start, end, length)
        if stop is None or text[stop : stop + 1].isalnum():
            continue
        compact = "".join(c for c in text[start:stop].upper() if c.isalnum())
        if mod97(compact):
            yield Finding("pii.iban", start, stop, 1.0, "pii.iban")


def _take(text: str, start: int, end: int, length: int) -> int | None:
    """The index after ``length`` letters and digits, or None when there are fewer."""
    taken = 0
    for at in range(start, min(len(text), start + 2 * length)):
        if text[at].isascii() and text[at].isalnum():
            taken += 1
            if taken == length:
                return at + 1
        elif text[at] not in " -":
            return None
    return None


def _bitcoin(view: View) -> Iterator[Finding]:
    for start, end, _, _ in view.spans(_bitcoin_pattern):
        value = view.text[start:end]
        valid = _bech32(value.lower()) if value[:3].lower() == "bc1" else _base58(value)
        if valid:
            yield Finding("pii.crypto_address", start, end, 1.0, "pii.crypto_address")


def _base58(value: str) -> bool:
    number = 0
    for char in value:
        number = number * 58 + _BASE58.index(char)
    if number >> 200:
        return False
    raw = number.to_bytes(25)
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def _bech32(value: str) -> bool:
    """BIP 173 and BIP 350: the polymod of prefix and data is 1 or the bech32m constant."""
    if any(char not in _BECH32 for char in value[3:]):
        return False
    values = [3, 3, 0, 2, 3, *(_BECH32.index(char) for char in value[3:])]
    check = 1
    for item in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ item
        for bit, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= term if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)


def _ethereum(view: View) -> Iterator[Finding]:
    for start, end, _, _ in view.spans(_ethereum_pattern):
        if len(set(view.text[start + 2 : end].lower())) >= 8:
            yield Finding("pii.crypto_address", start, end, 0.7, "pii.crypto_address")
