"""Detectors: selection, offsets, overlaps, hostile text."""

from __future__ import annotations

import base64
import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.detect import Detectors, known_types
from penstock.policy.find import Find

BOTH = Detectors(["secret", "pii"])
TOKEN = "ghp_" + "a1B2c3" * 6


def types(text: str, detectors: Detectors = BOTH) -> list[str]:
    return [finding.type for finding in detectors.scan(text)]


def test_a_prefix_selects_everything_below_it() -> None:
    text = f"{TOKEN} bob@example.org"
    assert types(text, Detectors(["secret"])) == ["secret.github_token"]
    assert types(text, Detectors(["pii.email"])) == ["pii.email"]
    assert types(text, Detectors([])) == []


@pytest.mark.parametrize("before", ["", "é", "日本語 ", "😀😀 ", "\ud800 "])
def test_offsets_are_string_indices_whatever_stands_before(before: str) -> None:
    text = f"{before} {TOKEN} и bob@example.org"
    assert [text[f.start : f.end] for f in BOTH.scan(text)] == [TOKEN, "bob@example.org"]


def test_findings_are_sorted_and_do_not_overlap() -> None:
    text = f"api_key = {TOKEN}; password: 'IhqSb1Gg#x' https://u:s3cret9@h.example/ "
    text += "4111 1111 1111 1111"
    found = BOTH.scan(text)
    assert len(found) == 4
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_a_finding_never_carries_the_text() -> None:
    (finding,) = BOTH.scan(TOKEN)
    assert TOKEN not in repr(finding)


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_is_scanned_without_an_error_and_within_its_bounds(text: str) -> None:
    for finding in BOTH.scan(text):
        assert 0 <= finding.start < finding.end <= len(text)
        assert finding.type in known_types()
        assert 0 < finding.score <= 1


@pytest.mark.parametrize(
    "hostile",
    ["key=" * 20_000, "a" * 200_000, "1 " * 50_000, "%41" * 30_000, "@" * 50_000, "eyJ." * 30_000,
     "-----BEGIN PRIVATE KEY-----" * 3_000, "\\u0041" * 20_000, "password: '" * 10_000],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    BOTH.scan(hostile)


KEY_BODY = "\n".join(
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDn" + c * 12 for c in "aBcD"
)


@pytest.mark.parametrize("label", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
@pytest.mark.parametrize("escaped", [False, True])
def test_private_keys_are_found_whole_also_with_escaped_line_ends(
    label: str, escaped: bool
) -> None:
    key = f"-----BEGIN {label}PRIVATE KEY-----\n{KEY_BODY}\n-----END {label}PRIVATE KEY-----"
    key = key.replace("\n", "\\n") if escaped else key
    text = f'{{"key": "{key}"}}'
    assert [(f.type, text[f.start : f.end]) for f in BOTH.scan(text)] == [
        ("secret.private_key", key)
    ]


@pytest.mark.parametrize("width", [64, 70])
@pytest.mark.parametrize("between", ["\n", "\r\n", " ", '",\n"'])
def test_every_line_of_a_key_without_its_label_is_found(width: int, between: str) -> None:
    body = base64.b64encode(hashlib.shake_256(b"key").digest(width * 3)).decode()
    lines = [body[at : at + width] for at in range(0, width * 4, width)]
    text = f"-{between}{between.join(lines)}{between}-"
    found = [text[one.start : one.end] for one in Detectors(["secret"]).scan(text)]
    assert found == lines


@pytest.mark.parametrize(
    "public",
    [
        f"-----BEGIN CERTIFICATE-----\n{KEY_BODY}\n-----END CERTIFICATE-----",
        f"-----BEGIN PUBLIC KEY-----\n{KEY_BODY}\n-----END PUBLIC KEY-----",
        "the line -----BEGIN PRIVATE KEY----- starts it\nand -----END PRIVATE KEY----- ends it",
    ],
)
def test_public_blocks_and_prose_about_keys_are_no_findings(public: str) -> None:
    assert types(public) == []


def test_a_json_web_token_needs_a_json_header() -> None:
    header = "eyJhbGciOiJIUzI1NiJ9"
    assert types(f"{header}.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWJ5dGVz") == ["secret.jwt"]
    assert types("eyJub3RqdHNvbmF0.eyJub3RqdHNvbmF0.c2lnbmF0dXJl") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("postgres://app:s3cr3tPw@db.internal:5432/x", "s3cr3tPw"),
        ("https://user:hunter42@example.org/a", "hunter42"),
        ("curl -u admin:dG9rZW4g https://h/", "dG9rZW4g"),
        ("Authorization: Bearer aB3dE5fG7hJ9kL1mN3pQ", "aB3dE5fG7hJ9kL1mN3pQ"),
    ],
)
def test_credentials_in_urls_and_headers_cover_the_secret_alone(text: str, value: str) -> None:
    assert [text[f.start : f.end] for f in BOTH.scan(text)] == [value]


def test_what_lies_behind_too_many_candidates_is_reported_as_not_judged() -> None:
    """A wall of numbers must not hide a card: the rest counts as whatever was asked for."""
    text = "12345678, " * 21_000 + "4111 1111 1111 1111"
    last = Detectors(["pii.card", "pii.national_id"]).scan(text)[-1]
    assert (last.type, last.end) == ("leakage.unscannable", len(text))
    assert Find(("pii.card",)).wants(last)


def test_an_address_of_a_documentation_domain_is_found_with_little_weight() -> None:
    documented, real = BOTH.scan("write to bob@example.org or bob@penstock.dev")
    assert documented.score < 0.4 < real.score


def test_a_password_that_looks_like_an_address_is_taken_whole() -> None:
    """What stands before the @ of an address is as much of a secret as what looks like mail."""
    text = "postgres://app:Xy7!kQ2mZ9vW3@db.example.com/app"
    detectors = Detectors(["secret", "pii"])
    (finding,) = detectors.scan(text)
    assert text[finding.start : finding.end] == "Xy7!kQ2mZ9vW3"


def test_what_stands_beside_a_better_finding_of_one_value_stays_found() -> None:
    """A token in the middle of a password: all of the password is replaced."""
    token = "ghp_" + "a1B2c3" * 6
    text = f"password = 'Xy7kQ2mZ9-{token}-mZ9vW3Xy7'"
    covered = [text[f.start : f.end] for f in Detectors(["secret"]).scan(text)]
    assert "".join(covered) == text.partition("'")[2].rstrip("'")
