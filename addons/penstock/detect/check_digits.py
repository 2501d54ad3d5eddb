"""Check digits of cards, accounts and national identifiers. Digits or compact strings in,
True or False out; the algorithms are the issuers' published ones (named per function).
"""

from __future__ import annotations

from datetime import date

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_D = (
    "0123456789 1234067895 2340178956 3401289567 4012395678 "
    "5987604321 6598710432 7659821043 8765932104 9876543210"
).split()
_P = (
    "0123456789 1576283094 5803796142 8916043527 9453126870 4286573901 2793806415 7046913258"
).split()


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
        check = int(_D[check][int(_P[place % 8][int(char)])])
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


# --------------------------------------------------------------------------- America


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


# --------------------------------------------------------------------------- Europe


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


# --------------------------------------------------------------------------- Asia, Africa, Oceania


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
