"""Check digits of the national identifiers of the Americas.

Each function gets the compact identifier, of the length its row in national.py states, and
answers whether it can exist. The algorithms are the issuers' published ones.
"""

from __future__ import annotations

from penstock.detect.personal.check_digits import luhn, uniform, weighted, yymmdd


def us_ssn(digits: str) -> bool:
    """Social Security Administration: no 000, 666, 9xx area, 00 group, 0000 serial."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000":
        return False
    return digits not in ("078051120", "219099999") and not uniform(digits)


def us_itin(digits: str) -> bool:
    """IRS: 9xx with the fourth and fifth digit 50-65, 70-88, 90-92 or 94-99."""
    middle = int(digits[3:5])
    return digits[0] == "9" and (
        50 <= middle <= 65 or 70 <= middle <= 88 or middle in (90, 91, 92, 94, 95, 96, 97, 98, 99)
    )


def us_npi(digits: str) -> bool:
    """National Provider Identifier: Luhn with the prefix 80840."""
    return digits[0] in "12" and not uniform(digits[:-1]) and luhn("80840" + digits)


def us_routing(digits: str) -> bool:
    """ABA routing number: weights 3, 7, 1."""
    prefix = int(digits[:2])
    known = prefix <= 12 or 21 <= prefix <= 32 or 61 <= prefix <= 72 or prefix == 80
    return known and not uniform(digits) and weighted(digits, (3, 7, 1) * 3) % 10 == 0


def ca_sin(digits: str) -> bool:
    """Social Insurance Number: Luhn; no 0 or 8 in front."""
    return digits[0] not in "08" and not uniform(digits) and luhn(digits)


def br_cpf(digits: str) -> bool:
    """Two mod-11 digits."""
    first = weighted(digits, tuple(range(10, 1, -1))) * 10 % 11 % 10
    second = weighted(digits, tuple(range(11, 1, -1))) * 10 % 11 % 10
    return not uniform(digits) and digits[9:] == f"{first}{second}"


def br_cnpj(digits: str) -> bool:
    """Two mod-11 digits over fourteen."""
    weights = (5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    first = 11 - weighted(digits, weights) % 11
    second = 11 - weighted(digits, (6, *weights)) % 11
    return (
        not uniform(digits)
        and digits[12:] == f"{first % 11 % 10 if first < 10 else 0}{second if second < 10 else 0}"
    )


def ar_cuit(digits: str) -> bool:
    """Argentina: mod 11."""
    check = 11 - weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return digits[:2] in ("20", "23", "24", "27", "30", "33", "34") and int(digits[10]) == {
        11: 0,
        10: 9,
    }.get(check, check)


def cl_rut(compact: str) -> bool:
    """Chile: mod 11, K for ten."""
    body = compact[:-1][::-1]
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(body))
    return (
        compact[-1].upper() == "0K987654321"[(total % 11)]
        if total % 11 != 0
        else compact[-1] == "0"
    )


def mx_curp(compact: str) -> bool:
    """Mexico: date of birth inside, mod-10 check digit at the end."""
    table = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(table.index(char) * (18 - place) for place, char in enumerate(compact[:17]))
    return yymmdd(compact[4:10]) and compact[17] == str((10 - total % 10) % 10)
