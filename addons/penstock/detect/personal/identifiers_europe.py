"""Check digits of the national identifiers of Europe.

Each function gets the compact identifier, of the length its row in national.py states, and
answers whether it can exist. The algorithms are the issuers' published ones.
"""

from __future__ import annotations

from penstock.detect.personal.check_digits import LETTERS, ddmmyy, luhn, uniform, weighted, yymmdd


def gb_nhs(digits: str) -> bool:
    """NHS number: mod 11."""
    check = 11 - weighted(digits, tuple(range(10, 1, -1))) % 11
    return not uniform(digits) and int(digits[9]) == check % 11 and check != 10


def it_fiscal_code(compact: str) -> bool:
    """Codice fiscale: the last letter is a check character (Ministry of Finance, 1974)."""
    odd = (
        1,
        0,
        5,
        7,
        9,
        13,
        15,
        17,
        19,
        21,
        2,
        4,
        18,
        20,
        11,
        3,
        6,
        8,
        12,
        14,
        16,
        10,
        22,
        25,
        24,
        23,
    )
    total = 0
    for place, char in enumerate(compact[:15].upper()):
        value = int(char) if char.isdigit() else LETTERS.index(char)
        total += value if place % 2 else odd[value]
    return LETTERS[total % 26] == compact[15].upper()


def it_vat(digits: str) -> bool:
    """Partita IVA: Luhn."""
    return not uniform(digits) and luhn(digits)


def es_nif(compact: str) -> bool:
    """DNI and NIE: the letter is the number modulo 23."""
    body = compact[:-1].upper()
    body = {"X": "0", "Y": "1", "Z": "2"}.get(body[0], body[0]) + body[1:]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23] == compact[-1].upper()


def de_tax_id(digits: str) -> bool:
    """Steuer-ID: ISO 7064 mod 11,10; one digit occurs twice or three times."""
    if digits[0] == "0" or uniform(digits) or len(set(digits[:10])) not in (8, 9, 10):
        return False
    product = 10
    for char in digits[:10]:
        total = (int(char) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def de_pension(compact: str) -> bool:
    """Rentenversicherungsnummer: weighted digit sums over area, birthday, letter, serial."""
    letter = f"{LETTERS.index(compact[8].upper()) + 1:02d}"
    number = compact[:8] + letter + compact[9:11]
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    total = sum(sum(map(int, str(int(d) * w))) for d, w in zip(number, weights, strict=True))
    return total % 10 == int(compact[11]) and int(compact[4:6]) in range(1, 13)


def de_health(compact: str) -> bool:
    """Krankenversichertennummer: letter as two digits, weights 1 and 2."""
    number = f"{LETTERS.index(compact[0].upper()) + 1:02d}" + compact[1:9]
    total = sum(sum(map(int, str(int(d) * (1 + i % 2)))) for i, d in enumerate(number))
    return total % 10 == int(compact[9])


def de_doctor(digits: str) -> bool:
    """LANR: weights 4 and 9 over six digits."""
    check = (10 - weighted(digits, (4, 9, 4, 9, 4, 9)) % 10) % 10
    return int(digits[6]) == check and not uniform(digits)


def icao_731(compact: str) -> bool:
    """ICAO 9303: weights 7, 3, 1, the last character is the check digit."""
    values = [int(c) if c.isdigit() else ord(c.upper()) - 55 for c in compact]
    return sum(v * (7, 3, 1)[i % 3] for i, v in enumerate(values[:-1])) % 10 == values[-1]


def fr_nir(digits: str) -> bool:
    """INSEE number: 97 minus the first thirteen digits modulo 97."""
    return digits[0] in "12" and 97 - int(digits[:13]) % 97 == int(digits[13:])


def pl_pesel(digits: str) -> bool:
    """PESEL: weights 1, 3, 7, 9; a birthday whose month carries the century."""
    month = int(digits[2:4]) % 20
    ok = weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10
    return (
        (10 - ok) % 10 == int(digits[10])
        and 1 <= month <= 12
        and 1 <= int(digits[4:6]) <= 31
        and not uniform(digits)
    )


def fi_hetu(compact: str) -> bool:
    """Henkilötunnus: remainder by 31 selects the check character."""
    if not ddmmyy(compact[:6]) or compact[7:10] in ("000", "001"):
        return False
    return (
        "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(compact[:6] + compact[7:10]) % 31]
        == compact[10].upper()
    )


def se_person(digits: str) -> bool:
    """Personnummer: Luhn over the last ten digits; day may be raised by 60."""
    short = digits[-10:]
    day = int(short[4:6])
    return luhn(short) and 1 <= int(short[2:4]) <= 12 and 1 <= (day - 60 if day > 60 else day) <= 31


def se_organisation(digits: str) -> bool:
    """Organisationsnummer: Luhn; the third digit is at least 2."""
    return int(digits[2]) >= 2 and luhn(digits)


def no_person(digits: str) -> bool:
    """Fødselsnummer: two mod-11 digits."""
    first = (11 - weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11) % 11
    second = (11 - weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return digits[9:] == f"{first}{second}" and 1 <= int(digits[2:4]) % 40 <= 12


def dk_cpr(digits: str) -> bool:
    """CPR: a birthday in front (the check digit was given up in 2007)."""
    return ddmmyy(digits)


def nl_bsn(digits: str) -> bool:
    """BSN: the eleven-test."""
    return (
        not uniform(digits)
        and (weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2)) - int(digits[8])) % 11 == 0
    )


def be_national(digits: str) -> bool:
    """Rijksregisternummer: 97 minus the first nine digits modulo 97 (2 in front from 2000)."""
    check = int(digits[9:])
    return check in (97 - int(digits[:9]) % 97, 97 - int("2" + digits[:9]) % 97)


def pt_nif(digits: str) -> bool:
    """NIF: mod 11."""
    check = 11 - weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return (
        digits[0] in "1235689"
        and int(digits[8]) == (0 if check >= 10 else check)
        and not uniform(digits)
    )


def ch_ahv(digits: str) -> bool:
    """AHV: EAN-13 with the prefix 756."""
    total = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits[:12]))
    return digits[:3] == "756" and (10 - total % 10) % 10 == int(digits[12])


def at_social(digits: str) -> bool:
    """Austria: weighted mod 11 in the fourth digit, birthday behind."""
    total = weighted(digits[:3] + digits[4:], (3, 7, 9, 5, 8, 4, 2, 1, 6))
    return total % 11 == int(digits[3]) and 1 <= int(digits[6:8]) <= 13


def ie_pps(compact: str) -> bool:
    """Ireland: weighted mod 23 letter."""
    total = weighted(compact[:7], (8, 7, 6, 5, 4, 3, 2))
    if len(compact) == 9:
        total += 9 * (LETTERS.index(compact[8].upper()) + 1)
    return ("W" + LETTERS)[total % 23] == compact[7].upper()


def ro_cnp(digits: str) -> bool:
    """Romania: weighted mod 11."""
    check = weighted(digits, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return int(digits[12]) == (1 if check == 10 else check) and yymmdd(digits[1:])


def bg_egn(digits: str) -> bool:
    """Bulgaria: weighted mod 11; the month carries the century."""
    check = weighted(digits, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10
    return (
        int(digits[9]) == check and 1 <= int(digits[2:4]) % 20 <= 12 and 1 <= int(digits[4:6]) <= 31
    )


def cz_birth(digits: str) -> bool:
    """Czech and Slovak birth number: divisible by 11; women's months are raised by 50."""
    return (
        int(digits) % 11 == 0
        and 1 <= int(digits[2:4]) % 50 % 20 <= 12
        and 1 <= int(digits[4:6]) <= 31
    )


def hr_oib(digits: str) -> bool:
    """Croatia: ISO 7064 mod 11,10."""
    product = 10
    for char in digits[:10]:
        total = (int(char) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10]) and not uniform(digits)


def gr_amka(digits: str) -> bool:
    """Greece: a birthday and Luhn."""
    return ddmmyy(digits) and luhn(digits)


def ee_lt_person(digits: str) -> bool:
    """Estonia and Lithuania: two rounds of mod 11."""
    first = weighted(digits, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    second = weighted(digits, (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return int(digits[10]) == (second if first == 10 else first) and yymmdd(digits[1:])


def tr_national(digits: str) -> bool:
    """T.C. kimlik: the tenth digit from odd and even sums, the eleventh from all."""
    odd, even = sum(map(int, digits[0:9:2])), sum(map(int, digits[1:8:2]))
    tenth = (odd * 7 - even) % 10
    return (
        digits[0] != "0"
        and int(digits[9]) == tenth
        and int(digits[10]) == sum(map(int, digits[:10])) % 10
    )


def hu_taj(digits: str) -> bool:
    """TAJ: weights 3 and 7 in turns, mod 10."""
    return weighted(digits, (3, 7) * 4) % 10 == int(digits[8]) and not uniform(digits)
