"""Personal data: shapes with check digits, and the words around them."""

from __future__ import annotations

import pytest

from penstock.detect import Detectors
from penstock.detect.view import CANDIDATES_MAX
from penstock.exchange import UNSCANNABLE

PII = Detectors(["pii"])


def found(text: str) -> list[tuple[str, str]]:
    return [(f.type, text[f.start : f.end]) for f in PII.scan(text)]


@pytest.mark.parametrize(
    ("type_name", "value", "sentence"),
    [
        ("pii.email", "jane.doe+tag@mail.example.co.uk", "Write to {} soon."),
        ("pii.card", "4111 1111 1111 1111", "Pay with {}, please."),
        ("pii.card", "378282246310005", "Amex {} expires in May"),
        ("pii.iban", "DE89 3704 0044 0532 0130 00", "IBAN {} of the shop"),
        ("pii.iban", "gb82west12345698765432", "my iban is {}"),
        ("pii.ssn", "536-90-4399", "It is {}."),
        ("pii.ssn", "536904399", "ssn {}"),
        ("pii.phone", "+49 (0)89 1234 5678", "Call {} now"),
        ("pii.phone", "650-636-4884", "Reach us: {}"),
        ("pii.phone", "03.93.92.16.85", "Mobile: {}"),
        ("pii.ip", "87.65.43.21", "from {} at noon"),
        ("pii.ip", "2001:db8:85a3::8a2e:370:7334", "host {} answered"),
        ("pii.mac", "00:1A:2B:3C:4D:5E", "adapter {} is up"),
        ("pii.crypto_address", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "send to {}"),
        ("pii.crypto_address", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "or {}"),
        ("pii.national_id.gb_nino", "QQ 12 34 56 C".replace("QQ", "AB"), "NI number {}"),
        ("pii.national_id.fi_hetu", "131052-308T", "hetu {}"),
        ("pii.national_id.es_nif", "12345678Z", "DNI {}"),
        ("pii.national_id.it_fiscal_code", "RSSMRA85T10A562S", "codice fiscale {}"),
        ("pii.national_id.br_cpf", "111.444.777-35", "CPF {}"),
        ("pii.national_id.ch_ahv", "756.9217.0769.85", "AHV {}"),
        ("pii.national_id.pl_pesel", "44051401359", "PESEL {}"),
        ("pii.national_id.in_aadhaar", "3998 7654 3211", "Aadhaar {}"),
        ("pii.national_id.fr_nir", "1 85 05 78 006 084 91"[:0] + "255081416802538", "NIR {}"),
        ("pii.national_id.nl_bsn", "111222333", "BSN {}"),
        ("pii.national_id.tr_national", "10000000146", "T.C. kimlik {}"),
        ("pii.national_id.cn_resident", "11010519491231002X", "身份证 {}"),
        ("pii.national_id.sg_nric", "S1234567D", "NRIC {}"),
        ("pii.national_id.za_id", "8001015009087", "ID number {}"),
        ("pii.medical.gb_nhs", "943 476 5919", "NHS number {}"),
        ("pii.passport.us", "912803456", "passport number {}"),
        ("pii.phone", "06 12 34 56 78", "mon numéro est le {}"),
        ("pii.phone", "06.12.34.56.78", "le {} après 18 h"),
        ("pii.phone", "03-1234-5678", "本社 {} まで"),
        ("pii.phone", "090 1234 5678", "電話 {}"),
        ("pii.phone", "0151-23456789", "Handynummer {}"),
        ("pii.phone", "089 / 123 45 67", "Telefon {}"),
        ("pii.phone", "912 34 567", "tlf {}"),
        ("pii.phone", "0532 123 45 67", "cep telefonu {}"),
        ("pii.phone", "050 123 45 67", "телефон {}"),
        ("pii.phone", "0501234567", "هاتف {}"),
        ("pii.phone", "0912 345 678", "điện thoại {}"),
        ("pii.national_id.ru_inn", "500100732259", "ИНН {}"),
        ("pii.national_id.hu_taj", "123 456 788", "TAJ szám {}"),
        ("pii.national_id.nz_ird", "49-091-850", "IRD {}"),
        ("pii.national_id.id_nik", "3174012501900001", "NIK {}"),
        ("pii.national_id.pk_cnic", "42101-1234567-1", "CNIC {}"),
        ("pii.national_id.vn_citizen", "001099012345", "CCCD {}"),
        ("pii.national_id.eg_national", "29001011234567", "الرقم القومي {}"),
        ("pii.national_id.ar_pe_dni", "12.345.678", "DNI {}"),
        ("pii.national_id.co_cedula", "1.032.456.789", "cédula {}"),
        ("pii.national_id.br_cnpj", "11.222.333/0001-81", "CNPJ {}"),
        ("pii.national_id.mx_rfc", "GOMC900514AB1", "RFC {}"),
        ("pii.vehicle.vin", "1HGCM82633A004352", "VIN {}"),
        ("pii.bank.account", "1234509876", "account number {}"),
    ],
)
def test_a_value_is_found_in_its_sentence(type_name: str, value: str, sentence: str) -> None:
    assert found(sentence.format(value)) == [(type_name, value)]


@pytest.mark.parametrize(
    "text",
    [
        "Pay with 4111 1111 1111 1112, please.",  # Luhn
        "IBAN DE89 3704 0044 0532 0130 01 of the shop",  # mod 97
        "ssn 666-12-3456 and 000-12-3456 and 536-00-4399",
        "The PESEL of the third applicant was 44051401358, they said.",
        "from 256.12.13.14 at noon",
        "version 1.2.3.4 of the library",
        "at 12:34:56 on 2024-03-15, 1700000000000 ms",
        "private 192.168.1.1 and 10.0.0.7",
        "icon@2x.png and pkg@1.2.3",
        "git@github.com:owner/name.git",
        "Port 80:443, ratio 3:2:1, x[::2], std::vector",
        "The sum of 123456789 and 987654321 is 1111111110.",
        "FF:FF:FF:FF:FF:FF",
        "call me at 5",
        "order 12-34-56 arrived, total 1,299.99",
        "VIN 1HGCM82733A004352",  # check digit
        "ИНН 500100732258",  # check digit
        "TAJ szám 123 456 787",  # check digit
        "dnia 12345678 w RFC ABC999999XY1",
        "01-02-2024 until 2024-01-02, part 0-306-40615-2",
        "15070649C100",
    ],
)
def test_wrong_check_digits_and_other_numbers_are_no_findings(text: str) -> None:
    assert found(text) == []


def test_an_identifier_alone_needs_no_words() -> None:
    """A tool argument or form field is often nothing but the value."""
    ((type_name, value),) = found("44051401359")
    assert type_name.startswith("pii.national_id.") and value == "44051401359"
    assert found("In that year we sold 44051401359 pieces of them") == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("Its plate is AB12 CDE.", True),
        ("PLATE: AB12 CDE", True),
        ("my_plate=on AB12 CDE", True),
        ("We filled in the template AB12 CDE and sent it to everybody.", False),
        (f"template{' ' * 55}AB12 CDE", False),  # of which only the end is near
    ],
)
def test_a_weak_code_counts_beside_a_word_and_not_beside_its_end(text: str, is_found: bool) -> None:
    assert (("pii.vehicle.gb", "AB12 CDE") in found(text)) == is_found


@pytest.mark.parametrize("before", [0, 511, 512, 513, 1023, 1024, 1025, 5000, 100_000])
@pytest.mark.parametrize("filler", ["é ", "x. "])
def test_codes_are_found_wherever_their_words_stand(before: int, filler: str) -> None:
    """Around each word and around the next, however far they stand apart."""
    pair = "plate AB12 CDE then reg. of vehicle "
    text = (filler * before)[:before] + pair + (filler * 900)[:900] + pair + "XA52 ZZZ"
    values = [value for kind, value in found(text) if kind == "pii.vehicle.gb"]
    assert values == ["AB12 CDE", "AB12 CDE", "XA52 ZZZ"]


def test_more_addresses_than_honest_text_holds_are_not_judged() -> None:
    text = "".join(f"jane{number}@mail.example.co.uk\n" for number in range(CANDIDATES_MAX + 10))
    *mails, last = PII.scan(text)
    assert len(mails) == CANDIDATES_MAX
    assert (last.type, last.end) == (UNSCANNABLE, len(text))
    assert text[last.start - 5 :].startswith(f"{CANDIDATES_MAX}@")
