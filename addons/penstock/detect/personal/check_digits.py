"""Check digits and dates that many identifiers share. Digits or compact strings in,
True or False out; each algorithm is named where it stands.
"""

from __future__ import annotations

from datetime import date

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_D = (
    "0123456789 1234067895 2340178956 3401289567 4012395678 "
    "5987604321 6598710432 7659821043 8765932104 9876543210"
)
_P = "0123456789 1576283094 5803796142 8916043527 9453126870 4286573901 2793806415 7046913258"


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def mod97(compact: str) -> bool:
    """ISO 13616: the rearranged IBAN as a number leaves 1."""
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def verhoeff(digits: str) -> bool:
    """Verhoeff's dihedral check, as Aadhaar uses it."""
    check = 0
    for place, char in enumerate(reversed(digits)):
        check = int(_D[check * 11 + int(_P[place % 8 * 11 + int(char)])])
    return check == 0


def weighted(digits: str, weights: tuple[int, ...]) -> int:
    """The weighted sum of the first ``len(weights)`` digits."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def real_date(year: int, month: int, day: int) -> bool:
    """True when the calendar has that day."""
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def yymmdd(digits: str) -> bool:
    """The first six digits are a day (of whichever century has it)."""
    year, month, day = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
    return real_date(2000 + year, month, day) or real_date(1900 + year, month, day)


def ddmmyy(digits: str) -> bool:
    """The first six digits are a day, written day first."""
    return yymmdd(digits[4:6] + digits[2:4] + digits[:2])


def uniform(digits: str) -> bool:
    """All digits alike: a filler that many check digits accept."""
    return len(set(digits)) == 1
