"""National identifiers: one row per kind, with its shape, its check and its words.

``strong`` rows stand on their shape and check alone; the others also need one of their
words near, or a text that is nothing but the identifier (a form field, a tool argument).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.detect.personal import check_digits as check
from penstock.detect.personal import identifiers_america as america
from penstock.detect.personal import identifiers_elsewhere as elsewhere
from penstock.detect.personal import identifiers_europe as europe

Check = Callable[[str], bool]


@dataclass(slots=True, frozen=True)
class Numeric:
    """An identifier of digits: how many, written in groups of which lengths."""

    type: str
    length: int
    valid: Check
    words: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...] = ()  # groupings that speak for it
    strong: bool = False  # these groupings alone are enough
    alone: bool = True  # the check is good enough for a text that is only this


@dataclass(slots=True, frozen=True)
class Coded:
    """An identifier of letters and digits: an RE2 shape; ``valid`` gets it compact."""

    type: str
    shape: str
    valid: Check | None
    words: tuple[str, ...]
    strong: bool = False
    alone: bool = True


_ID = "pii.national_id."
NUMERIC: tuple[Numeric, ...] = (
    Numeric(
        "pii.ssn",
        9,
        america.us_ssn,
        ("ssn", "social security", "social-security"),
        ((3, 2, 4),),
        True,
        alone=False,
    ),
    Numeric(
        _ID + "us_itin",
        9,
        america.us_itin,
        ("itin", "taxpayer", "tax id"),
        ((3, 2, 4),),
        True,
        alone=False,
    ),
    Numeric("pii.medical.us_npi", 10, america.us_npi, ("npi", "provider"), ((4, 3, 3),)),
    Numeric(
        "pii.bank.us_routing",
        9,
        america.us_routing,
        ("routing", "aba", "rtn", "bank"),
        ((4, 4, 1),),
    ),
    Numeric(_ID + "ca_sin", 9, america.ca_sin, ("sin", "nas", "social insurance"), ((3, 3, 3),)),
    Numeric("pii.medical.gb_nhs", 10, europe.gb_nhs, ("nhs", "health service"), ((3, 3, 4),)),
    Numeric(_ID + "it_vat", 11, europe.it_vat, ("iva", "vat", "piva"), ()),
    Numeric(
        _ID + "de_tax_id",
        11,
        europe.de_tax_id,
        ("steuer", "tin", "idnr", "tax id"),
        ((2, 3, 3, 3),),
    ),
    Numeric("pii.medical.de_doctor", 9, europe.de_doctor, ("lanr", "arzt"), ()),
    Numeric(
        _ID + "fr_nir",
        15,
        europe.fr_nir,
        ("nir", "sécu", "secu", "insee", "sociale"),
        ((1, 2, 2, 2, 3, 3, 2),),
        True,
    ),
    Numeric(_ID + "pl_pesel", 11, europe.pl_pesel, ("pesel",), ()),
    Numeric(
        _ID + "se_personnummer",
        10,
        europe.se_person,
        ("personnummer", "personal identity", "swedish"),
        ((6, 4),),
    ),
    Numeric(
        _ID + "se_personnummer",
        12,
        europe.se_person,
        ("personnummer", "personal identity", "swedish"),
        ((8, 4),),
    ),
    Numeric(
        _ID + "se_organisation",
        10,
        europe.se_organisation,
        ("orgnr", "orgnummer", "organisationsnummer", "company identity"),
        ((6, 4),),
        alone=False,
    ),
    Numeric(
        _ID + "no_person",
        11,
        europe.no_person,
        ("fødselsnummer", "fodselsnummer", "personnummer", "norwegian"),
        ((6, 5),),
    ),
    Numeric(_ID + "dk_cpr", 10, europe.dk_cpr, ("cpr", "danish"), (), alone=False),
    Numeric(_ID + "nl_bsn", 9, europe.nl_bsn, ("bsn", "burgerservice", "sofi"), ((4, 2, 3),)),
    Numeric(
        _ID + "be_national",
        11,
        europe.be_national,
        ("rijksregister", "registre national", "insz", "niss"),
        ((2, 2, 2, 3, 2),),
        True,
    ),
    Numeric(_ID + "pt_nif", 9, europe.pt_nif, ("nif", "contribuinte"), ((3, 3, 3),)),
    Numeric(_ID + "ch_ahv", 13, europe.ch_ahv, ("ahv", "avs"), ((3, 4, 4, 2),), True),
    Numeric(_ID + "at_social", 10, europe.at_social, ("svnr", "sozialversicherung"), ((4, 6),)),
    Numeric(_ID + "ro_cnp", 13, europe.ro_cnp, ("cnp", "cod numeric"), ()),
    Numeric(_ID + "bg_egn", 10, europe.bg_egn, ("egn", "егн"), ()),
    Numeric(_ID + "cz_birth", 10, europe.cz_birth, ("rodné", "rodne", "rc:"), ((6, 4),)),
    Numeric(_ID + "hr_oib", 11, europe.hr_oib, ("oib",), (), alone=False),
    Numeric(_ID + "gr_amka", 11, europe.gr_amka, ("amka", "αμκα"), ()),
    Numeric(_ID + "ee_lt_person", 11, europe.ee_lt_person, ("isikukood", "asmens kodas"), ()),
    Numeric(
        _ID + "tr_national", 11, europe.tr_national, ("kimlik", "kişi", "tckn", "tc no", "t.c."), ()
    ),
    Numeric(
        _ID + "au_abn", 11, elsewhere.au_abn, ("abn", "business number"), ((2, 3, 3, 3),), True
    ),
    Numeric(_ID + "au_acn", 9, elsewhere.au_acn, ("acn", "company number"), ((3, 3, 3),)),
    Numeric(_ID + "au_tfn", 9, elsewhere.au_tfn, ("tfn", "tax file"), ((3, 3, 3),)),
    Numeric("pii.medical.au_medicare", 10, elsewhere.au_medicare, ("medicare",), ((4, 5, 1),)),
    Numeric(
        _ID + "in_aadhaar",
        12,
        elsewhere.in_aadhaar,
        ("aadhaar", "aadhar", "uidai", "आधार"),
        ((4, 4, 4),),
        True,
    ),
    Numeric(
        _ID + "kr_resident",
        13,
        elsewhere.kr_resident,
        ("주민", "외국인", "rrn", "frn", "resident"),
        ((6, 7),),
        True,
    ),
    Numeric(
        _ID + "kr_business",
        10,
        elsewhere.kr_business,
        ("사업자", "brn", "business registration"),
        ((3, 2, 5),),
        True,
    ),
    Numeric(
        _ID + "jp_my_number",
        12,
        elsewhere.jp_my_number,
        ("my number", "マイナンバー", "個人番号"),
        ((4, 4, 4),),
    ),
    Numeric(
        _ID + "th_national",
        13,
        elsewhere.th_national,
        ("บัตร", "tnin", "thai"),
        ((1, 4, 5, 2, 1),),
        True,
    ),
    Numeric(
        _ID + "my_nric",
        12,
        elsewhere.my_nric,
        ("nric", "mykad", "kad pengenalan"),
        ((6, 2, 4),),
        alone=False,
    ),
    Numeric(
        _ID + "za_id",
        13,
        elsewhere.za_id,
        ("id number", "identity", "south africa", "resident"),
        ((6, 4, 2, 1),),
        True,
    ),
    Numeric(_ID + "il_id", 9, elsewhere.il_id, ("teudat", "תעודת"), (), alone=False),
    Numeric(_ID + "br_cpf", 11, america.br_cpf, ("cpf",), ((3, 3, 3, 2),), True),
    Numeric(_ID + "br_cnpj", 14, america.br_cnpj, ("cnpj",), ((2, 3, 3, 4, 2),), True),
    Numeric(_ID + "ar_cuit", 11, america.ar_cuit, ("cuit", "cuil"), ((2, 8, 1),), True),
    Numeric(
        _ID + "ng_nin",
        11,
        lambda digits: not check.uniform(digits),
        ("nin:", "nimc", "national identification number"),
        (),
        alone=False,
    ),
)

_PASSPORT = ("passport", "pasaporte", "passaporto", "reisepass", "passeport", "여권", "паспорт")
_LICENCE = ("licen", "führerschein", "patente", "permis", "driver")
_PLATE = ("plate", "registration", "vehicle", "car reg", "plaka", "bike", "kennzeichen")
CODED: tuple[Coded, ...] = (
    Coded(
        _ID + "gb_nino",
        r"(?i:[ABCEGHJ-PRSTW-Z][ABCEGHJ-NPRSTW-Z]) ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?(?i:[A-D])",
        lambda c: c[:2].upper() not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"),
        ("nino", "national insurance", "ni number"),
        True,
    ),
    Coded(
        "pii.driving_licence.gb",
        r"(?i:[A-Z]{2,5}9{0,3})[0-9][0156][0-9][0-3][0-9][0-9](?i:[A-Z9]{2}[0-9A-Z][A-Z]{2})",
        lambda c: len(c) == 16,
        _LICENCE,
        True,
    ),
    Coded(
        _ID + "it_fiscal_code",
        r"(?i:[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z])",
        europe.it_fiscal_code,
        ("codice fiscale",),
        True,
    ),
    Coded(
        "pii.driving_licence.it",
        r"(?i:[A-Z]{2}[0-9]{7}[A-Z]|U1[0-9BCDFGHJKLMNPRSTUVWXYZ]{7}[A-Z])",
        lambda c: c[:2].upper() == "U1" or c[2].isdigit(),
        ("patente", "licen"),
    ),
    Coded(
        _ID + "it_card",
        r"(?i:[A-Z]{2}[0-9]{5}[A-Z]{2}|C[A-Z][0-9]{5}[A-Z]{2})",
        None,
        ("identità", "identity card", "carta"),
    ),
    Coded(_ID + "es_nif", r"(?i:[0-9]{7,8}-?[A-HJ-NP-TV-Z])", europe.es_nif, ("dni", "nif"), True),
    Coded(
        _ID + "es_nie",
        r"(?i:[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z])",
        europe.es_nif,
        ("nie", "extranjero"),
        True,
    ),
    Coded(
        _ID + "de_pension",
        r"[0-9]{4}[01][0-9][0-9]{2}(?i:[A-Z])[0-9]{3}",
        europe.de_pension,
        ("rvnr", "sozialversicherung", "rente"),
        True,
    ),
    Coded(
        "pii.medical.de_health",
        r"[A-Z][0-9]{9}",
        europe.de_health,
        ("kvnr", "krankenvers", "gesundheitskarte"),
    ),
    Coded(
        "pii.passport.de",
        r"[CFGHJKLMNPRTVWXYZ][0-9CFGHJKLMNPRTVWXYZ]{7}[0-9]",
        europe.icao_731,
        (*_PASSPORT, "ausweis", "personalausweis"),
    ),
    Coded(
        _ID + "fi_hetu",
        r"[0-3][0-9][01][0-9]{3}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]",
        europe.fi_hetu,
        ("hetu", "henkilö"),
        True,
    ),
    Coded(_ID + "ie_pps", r"[0-9]{7}[A-W][A-IW]?", europe.ie_pps, ("pps", "ppsn")),
    Coded(
        _ID + "in_pan", r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]", None, ("pan", "income tax"), True
    ),
    Coded(
        _ID + "in_gstin",
        r"(?i:[0-3][0-9][A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z])",
        lambda c: 1 <= int(c[:2]) <= 37,
        ("gstin", "gst"),
        True,
    ),
    Coded(_ID + "in_voter", r"(?i:[A-Z]{3}[0-9]{7})", None, ("voter", "epic", "election")),
    Coded(
        _ID + "cn_resident",
        r"[1-9][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx]",
        elsewhere.cn_resident,
        ("身份证",),
        True,
    ),
    Coded(_ID + "tw_national", r"[A-Z][1289][0-9]{8}", elsewhere.tw_national, ("身分證", "taiwan")),
    Coded(
        _ID + "sg_nric",
        r"(?i:[STFGM][0-9]{7}[A-Z])",
        elsewhere.sg_nric,
        ("nric", "fin", "singapore"),
        True,
    ),
    Coded(_ID + "hk_id", r"[A-Z]{1,2}[0-9]{6}\(?[0-9A]\)?", elsewhere.hk_id, ("hkid", "身份證")),
    Coded(
        _ID + "cl_rut",
        r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]",
        america.cl_rut,
        ("rut", "run"),
        True,
    ),
    Coded(
        _ID + "mx_curp",
        r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]",
        america.mx_curp,
        ("curp",),
        True,
    ),
    Coded(
        "pii.medical.us_mbi",
        (
            r"(?i:[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y][0-"
            r"9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y]{2}[0-9]{2})"
        ),
        None,
        ("mbi", "medicare"),
        True,
    ),
    Coded("pii.passport.us", r"[0-9]{9}|[A-Z][0-9]{8}", None, _PASSPORT, alone=False),
    Coded("pii.passport.gb_it", r"(?i:[A-Z]{2}[0-9]{7})", None, _PASSPORT),
    Coded("pii.passport.es", r"(?i:[A-Z]{3}[0-9]{6})", None, _PASSPORT),
    Coded(
        "pii.passport.in", r"[A-Z][1-9][0-9]{5}[1-9]|[A-Z][0-9]{7}", None, _PASSPORT, alone=False
    ),
    Coded(
        "pii.passport.kr", r"(?i:[MSRDG][0-9]{3}[A-Z][0-9]{4}|[MSRODG][0-9]{8})", None, _PASSPORT
    ),
    Coded(
        "pii.driving_licence.kr",
        r"[0-9]{2}-[0-9]{2}-[0-9]{6}-[0-9]{2}",
        None,
        ("면허", "licen"),
        True,
    ),
    Coded(
        "pii.driving_licence.us",
        r"[A-Z][0-9]{7,14}|[0-9]{7,9}|[0-9]{4}-[0-9]{2}-[0-9]{4}",
        None,
        (
            "driver's license",
            "driver license",
            "drivers license",
            "driving licen",
            "driver's licen",
            "dl number",
            "license number",
        ),
        alone=False,
    ),
    Coded(
        "pii.vehicle.gb",
        (
            r"(?i:[A-HJ-PR-Y][A-HJ-PR-Y](?:0[2-9]|[1256][0-9]|7[0-9])[ -]?[A-HJ-PR-Z"
            r"]{3}|[A-HJ-NP-Y][0-9]{1,3}[ -]?[A-Z]{3}|[A-Z]{3}[ -]?[0-9]{1,3}[A-HJ-N"
            r"P-Y])"
        ),
        None,
        _PLATE,
    ),
    Coded("pii.vehicle.in", r"[A-Z]{2}[0-9]{1,2}[A-Z]{1,3}[0-9]{4}", None, _PLATE),
    Coded("pii.vehicle.tr", r"(?:0[1-9]|[1-7][0-9]|8[01]) ?[A-Z]{1,3} ?[0-9]{2,4}", None, _PLATE),
    Coded("pii.vehicle.ng", r"(?i:[A-Z]{3}[ -]?[0-9]{3}[A-Z]{2})", None, _PLATE),
    Coded(
        "pii.postcode.gb",
        r"(?i:GIR ?0AA|[A-PR-UWYZ][A-HK-Y]?[0-9][0-9ABEHJKMNPRVWXY]? ?[0-9][ABD-HJLNP-UW-Z]{2})",
        None,
        ("postcode", "post code", "postal code"),
    ),
)
