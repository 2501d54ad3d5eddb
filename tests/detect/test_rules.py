"""The rule data: current, complete, and every rule finds what its example says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from penstock.detect import Detectors, known_types, rules
from penstock.detect.placeholders import Vault
from penstock.detect.secrets.checks import CHECKS, crc_base62

_spec = importlib.util.spec_from_file_location("shapes", Path(__file__).with_name("shapes.py"))
assert _spec is not None and _spec.loader is not None
shapes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shapes)

TOKENS, CONTEXTUAL = rules.load()


@pytest.fixture(scope="module")
def secrets() -> Detectors:
    return Detectors(["secret"])


def test_the_compact_form_is_current() -> None:
    """Who edits the YAML runs ``python -m penstock.detect.rules``."""
    assert rules.COMPACT.read_text(encoding="utf-8") == rules.compact()


def test_there_are_at_least_200_kinds_of_secret() -> None:
    assert sum(name.startswith("secret.") for name in known_types()) >= 200


def test_every_check_that_a_rule_names_exists() -> None:
    assert {name for rule in TOKENS for name in rule.checks} <= set(CHECKS)


def test_every_rule_says_where_its_format_is_published() -> None:
    assert all(rule.source.startswith("https://") for rule in (*TOKENS, *CONTEXTUAL))


@pytest.mark.parametrize("number", [n for n, rule in enumerate(TOKENS) if rule.example])
def test_every_example_is_found_whole_and_as_what_it_is(secrets: Detectors, number: int) -> None:
    """Five tokens of the documented shape, alone and in a sentence."""
    rule = TOKENS[number]
    vendor_types = {f"secret.{other.id}" for other in TOKENS if other.vendor == rule.vendor}
    for seed in range(5):
        token = shapes.expand(rule.example, seed)
        for text in (token, f"Use {token} for the call.", f'{{"v": "{token}"}}'):
            found = secrets.scan(text)
            assert found, f"{rule.id} not found"
            assert any(f.type in vendor_types or f.type.startswith("secret.") for f in found), (
                f"{rule.id} found as {[f.type for f in found]}"
            )


@pytest.mark.parametrize("rule_id", ["github_token", "npm_token"])
def test_a_right_checksum_makes_a_token_certain(secrets: Detectors, rule_id: str) -> None:
    prefix = {"github_token": "ghp_", "npm_token": "npm_"}[rule_id]
    body = shapes.expand("{A30}")
    (right,) = secrets.scan(prefix + body + crc_base62(body))
    (wrong,) = secrets.scan(prefix + body + "zzzzzz")
    assert right.score == 1.0 > wrong.score


@pytest.mark.parametrize(
    "filler", ["ghp_" + "x" * 36, "glpat-XXXXXXXXXXXXXXXXXXXX", "AKIAIOSFODNN7EXAMPLE"]
)
def test_fillers_and_documented_examples_are_no_findings(secrets: Detectors, filler: str) -> None:
    assert secrets.scan(f"token {filler} here") == []


@pytest.mark.parametrize(
    "frame",
    ["{}", 'password = "{}"', "api_key: {}", "https://u:{}@h.example/x", "Authorization: Bearer {}",
     "curl -u a:{} https://x", "call {} now", "AWS_SECRET_ACCESS_KEY={}", "ssn {}", "PASSWORD '{}'",
     "//r.example/:_authToken={}", '"auth": "{}"', "AccountKey={}", "x?sig={}"],
)  # fmt: skip
def test_our_own_placeholders_are_never_found(frame: str) -> None:
    """Redacting twice changes nothing, whatever stood around the value."""
    detectors = Detectors(["secret", "pii"])
    for name in known_types():
        placeholder = Vault(b"k" * 32).seal(name, "value", "caller")
        assert detectors.scan(frame.format(placeholder)) == []


def test_a_token_inside_a_longer_word_is_none(secrets: Detectors) -> None:
    assert secrets.scan("x" + shapes.expand("ghp_{A36}") + "yz") == []


def test_unknown_fields_of_a_rule_are_an_error() -> None:
    with pytest.raises(ValueError, match="unknown fields"):
        rules._row({"id": "a", "colour": "red"}, ("id",))
