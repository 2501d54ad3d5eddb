"""Identifiers that count beside one of their words only: shapes too common to stand alone."""

from __future__ import annotations

from penstock.detect.personal import identifiers_elsewhere as elsewhere
from penstock.detect.personal import identifiers_europe as europe
from penstock.detect.personal.check_digits import uniform, yymmdd
from penstock.detect.personal.national import Check, Coded, Numeric

_ID = "pii.national_id."


def _row(
    kind: str, length: int, valid: Check, words: tuple[str, ...], *groups: tuple[int, ...]
) -> Numeric:
    return Numeric(kind, length, valid, words, groups, alone=False)


def _any(digits: str) -> bool:
    return not uniform(digits)


_DNI = ("dni ", "dni:", "dni n", "documento nacional")  # dnia is Polish for "on the day"
_INN = ("инн", "inn ", "inn:")
_CEDULA = ("cédula", "cedula", "c.c.")
_ACCOUNT = (
    "account number", "account no", "acct no", "acct number", "bank account", "kontonummer",
    "kontonr", "numéro de compte", "número de cuenta", "numero di conto",
)  # fmt: skip
NUMERIC_BY_WORD: tuple[Numeric, ...] = (
    _row(_ID + "ru_inn", 10, elsewhere.ru_inn, _INN),
    _row(_ID + "ru_inn", 12, elsewhere.ru_inn, _INN),
    _row(_ID + "hu_taj", 9, europe.hu_taj, ("taj",), (3, 3, 3)),
    _row(_ID + "nz_ird", 8, elsewhere.nz_ird, ("ird",), (2, 3, 3)),
    _row(_ID + "nz_ird", 9, elsewhere.nz_ird, ("ird",), (3, 3, 3)),
    _row(_ID + "id_nik", 16, elsewhere.id_nik, ("nik ", "nik:", "ktp"), (6, 6, 4), (4, 4, 4, 4)),
    _row(_ID + "pk_cnic", 13, _any, ("cnic", "nadra"), (5, 7, 1)),
    _row(_ID + "vn_citizen", 12, _any, ("cccd", "căn cước"), (3, 3, 3, 3)),
    _row(_ID + "eg_national", 14, elsewhere.eg_national, ("الرقم القومي", "egypt")),
    _row(_ID + "sa_national", 10, elsewhere.sa_id, ("هوية", "الهوية", "iqama", "إقامة")),
    _row(_ID + "ar_pe_dni", 8, _any, _DNI, (2, 3, 3)),
    _row(_ID + "ar_pe_dni", 7, _any, _DNI, (1, 3, 3)),
    _row(_ID + "co_cedula", 10, _any, _CEDULA, (1, 3, 3, 3)),
    _row(_ID + "co_cedula", 8, _any, _CEDULA, (2, 3, 3)),
    *(_row("pii.bank.account", length, _any, _ACCOUNT) for length in range(8, 13)),
)
CODED_BY_WORD: tuple[Coded, ...] = (
    Coded(
        _ID + "mx_rfc",
        r"[A-ZÑ&]{3,4}[0-9]{6}[0-9A-Z]{3}",
        lambda compact: yymmdd(compact[-9:-3]),
        ("rfc",),
        alone=False,
    ),
    Coded(
        "pii.vehicle.vin",
        r"[A-HJ-NPR-Z0-9]{17}",
        elsewhere.vehicle_identification,
        ("vin", "chassis", "fahrgestell"),
        alone=False,
    ),
)
