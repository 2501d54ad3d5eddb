"""Check digits of the national identifiers of Asia, Africa, Oceania and Russia.

Each function gets the compact identifier, of the length its row in national.py states, and
answers whether it can exist. The algorithms are the issuers' published ones.
"""

from __future__ import annotations

from penstock.detect.personal.check_digits import (
    luhn,
    real_date,
    uniform,
    verhoeff,
    weighted,
    yymmdd,
)


def au_abn(digits: str) -> bool:
    """ABN: weighted sum, one taken from the first digit, divisible by 89."""
    weights = (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)
    return digits[0] != "0" and (weighted(digits, weights) - weights[0]) % 89 == 0


def au_acn(digits: str) -> bool:
    """ACN: weighted mod 10."""
    return int(digits[8]) == (
        10 - weighted(digits, (8, 7, 6, 5, 4, 3, 2, 1)) % 10
    ) % 10 and not uniform(digits)


def au_tfn(digits: str) -> bool:
    """TFN: weighted sum divisible by 11."""
    return not uniform(digits) and weighted(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def au_medicare(digits: str) -> bool:
    """Medicare: weighted mod 10 in the ninth digit."""
    return digits[0] in "23456" and weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(
        digits[8]
    )


def in_aadhaar(digits: str) -> bool:
    """Aadhaar: Verhoeff, not starting with 0 or 1, no palindrome."""
    return digits[0] not in "01" and digits != digits[::-1] and verhoeff(digits)


def kr_resident(digits: str) -> bool:
    """Resident and foreigner registration: a birthday and a gender digit."""
    # Numbers given out since October 2020 carry no check digit.
    return yymmdd(digits) and digits[6] in "12345678"


def kr_business(digits: str) -> bool:
    """Business registration: weights 1, 3, 7 and the tens of five times the ninth digit."""
    total = weighted(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5)) + int(digits[8]) * 5 // 10
    return (10 - total % 10) % 10 == int(digits[9]) and not uniform(digits)


def jp_my_number(digits: str) -> bool:
    """My Number: weighted mod 11."""
    total = sum(int(d) * ((i + 2) if i < 6 else (i - 4)) for i, d in enumerate(digits[10::-1]))
    rest = total % 11
    return int(digits[11]) == (0 if rest <= 1 else 11 - rest) and not uniform(digits)


def cn_resident(compact: str) -> bool:
    """GB 11643: ISO 7064 mod 11-2."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    born = compact[6:14]
    return (
        real_date(int(born[:4]), int(born[4:6]), int(born[6:]))
        and "10X98765432"[weighted(compact, weights) % 11] == compact[17].upper()
    )


def tw_national(compact: str) -> bool:
    """Taiwan: the letter as two digits, weights 1, 9 to 1."""
    order = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
    number = str(order.index(compact[0].upper()) + 10) + compact[1:]
    return (weighted(number, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1)) + int(number[10])) % 10 == 0


def sg_nric(compact: str) -> bool:
    """Singapore: weighted mod 11 letter; another row for foreigners and for T and G."""
    first = compact[0].upper()
    total = weighted(compact[1:8], (2, 7, 6, 5, 4, 3, 2)) + (
        4 if first in "TG" else 3 if first == "M" else 0
    )
    row = {
        "S": "JZIHGFEDCBA",
        "T": "JZIHGFEDCBA",
        "F": "XWUTRQPNMLK",
        "G": "XWUTRQPNMLK",
        "M": "KLJNPQRTUWX",
    }[first]
    index = total % 11 if first != "M" else 10 - total % 11
    return row[index] == compact[8].upper()


def hk_id(compact: str) -> bool:
    """Hong Kong: letters and digits weighted 9 to 1, mod 11."""
    body, check = compact[:-1].upper(), compact[-1].upper()
    values = [36] * (8 - len(body)) + [ord(c) - 55 if c.isalpha() else int(c) for c in body]
    total = sum(value * (9 - place) for place, value in enumerate(values))
    return (total + (10 if check == "A" else int(check))) % 11 == 0


def th_national(digits: str) -> bool:
    """Thailand: weights 13 to 2, mod 11."""
    total = weighted(digits, tuple(range(13, 1, -1)))
    return digits[0] in "12345678" and (11 - total % 11) % 10 == int(digits[12])


def my_nric(digits: str) -> bool:
    """Malaysia: a birthday and a known place of birth."""
    return yymmdd(digits) and digits[6:8] not in ("00", "17", "18", "19", "20", "69", "70", "73")


def za_id(digits: str) -> bool:
    """South Africa: a birthday, citizenship 0 to 2, Luhn."""
    return yymmdd(digits) and digits[10] in "012" and luhn(digits)


def il_id(digits: str) -> bool:
    """Israel: Luhn over nine digits."""
    return not uniform(digits) and luhn(digits)


def ru_inn(digits: str) -> bool:
    """INN: one check digit of ten, two of twelve; weights of the tax service."""
    weights = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
    size = len(digits)
    firm = size == 10
    places = (9,) if firm else (10, 11)
    return not uniform(digits) and all(
        weighted(digits[:place], weights[-place:]) % 11 % 10 == int(digits[place])
        for place in places
    )


def nz_ird(digits: str) -> bool:
    """IRD: weights of Inland Revenue, a second row where the first answers 10."""
    body, check = digits[:-1].zfill(8), int(digits[-1])
    for weights in ((3, 2, 7, 6, 5, 4, 3, 2), (7, 4, 3, 2, 5, 2, 7, 6)):
        rest = -weighted(body, weights) % 11
        if rest != 10:
            return rest == check and not uniform(digits)
    return False


def id_nik(digits: str) -> bool:
    """Indonesia: a place, a birthday (40 is added to the day of women), a number."""
    day, month = int(digits[6:8]), int(digits[8:10])
    return digits[0] in "123456789" and 1 <= day % 40 <= 31 and day <= 71 and 1 <= month <= 12


def eg_national(digits: str) -> bool:
    """Egypt: a century, a birthday, a governorate."""
    return digits[0] in "23" and yymmdd(digits[1:])


def sa_id(digits: str) -> bool:
    """Saudi Arabia: 1 for citizens, 2 for residents, Luhn."""
    return digits[0] in "12" and luhn(digits) and not uniform(digits)


def vehicle_identification(compact: str) -> bool:
    """ISO 3779 with the check digit of 49 CFR 565: the ninth place, mod 11."""
    letters = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789", strict=True))
    values = [int(letters.get(char, char)) for char in compact.upper()]
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    rest = sum(value * weight for value, weight in zip(values, weights, strict=True)) % 11
    return compact[8].upper() == ("X" if rest == 10 else str(rest))
