"""The language's descriptions agree: loader, JSON Schema, reference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from making import TYPES, problems_of

from penstock.detect import known_types
from penstock.policy.conditions.activation import FIELDS
from penstock.policy.language.keys import RULE, SETTINGS, Key
from penstock.policy.language.schema import policy_schema
from penstock.policy.offline.shorthand import CALLER_KEYS
from penstock.policy.offline.shorthand import KEYS as CALL_KEYS
from penstock.policy.offline.testing import CASE_KEYS, EXPECT_KEYS, USES_KEYS
from penstock.policy.rules import KINDS

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    *sorted(path for path in (ROOT / "policies").glob("*.yaml") if "_test" not in path.name),
    *(Path(__file__).parent / "examples" / name for name in ("payments.yaml", "guards.yaml")),
]


def test_checked_in_schema_is_current() -> None:
    """Renew it with: penstock check --schema > docs/penstock-policy.schema.json"""
    written = json.loads((ROOT / "docs" / "penstock-policy.schema.json").read_text())
    assert written == policy_schema(known_types())


def test_schema_is_a_schema() -> None:
    """Editors get something they can use."""
    jsonschema.Draft202012Validator.check_schema(policy_schema(TYPES))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_policies_that_load_fit_the_schema(file: Path) -> None:
    """What the loader takes, an editor does not underline."""
    jsonschema.validate(yaml.safe_load(file.read_text()), policy_schema(known_types()))


@pytest.mark.parametrize(
    "rule",
    [
        {"deny": {}},
        {"id": "a"},
        {"id": "a", "deny": {}, "allow": {}},
        {"id": "a", "deny": {"hots": ["x"]}},
        {"id": "a", "redact": {"find": ["nothing"]}},
        {"id": "a", "redact": {"find": ["secret"], "with": "salt"}},
        {"id": "a", "redact": {"find": []}},
        {"id": "a", "limit": {"tokens": 0, "every": "1h"}},
        {"id": "a", "limit": {"tokens": 5, "every": "soon"}},
        {"id": "a", "limit": {"tokens": 5}},
        {"id": "a", "deny": {"categories": ["chat"]}},
        {"id": "a", "deny": {}, "mode": "off"},
    ],
)
def test_schema_and_loader_refuse_the_same(tmp_path: Path, rule: dict[str, Any]) -> None:
    """A mistake is one in the editor and at load."""
    document = {"version": 1, "rules": [rule]}
    assert problems_of(tmp_path, yaml.safe_dump(document))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, policy_schema(TYPES))


REFERENCE = (ROOT / "docs" / "policy-reference.md").read_text()


# Everything in code marks outside the examples; ``.pod`` is read as ``pod``.
NAMED = set(re.findall(r"`\.?([^`\n]+)`", re.sub(r"```.*?```", "", REFERENCE, flags=re.S)))


def unnamed(words: list[str]) -> list[str]:
    """Those of ``words`` the reference does not name."""
    return [word for word in words if word not in NAMED]


def words_of(keys: tuple[Key, ...]) -> list[str]:
    return [key.name for key in keys] + [choice for key in keys for choice in key.choices]


def test_reference_describes_every_word_of_the_language() -> None:
    """Each setting, rule key, verb and choice stands in docs/policy-reference.md."""
    assert unnamed(words_of(SETTINGS) + words_of(RULE)) == []
    for kind in KINDS:
        assert f"### {kind.verb}\n" in REFERENCE
        assert unnamed(words_of(kind.keys)) == [], kind.verb


def test_reference_describes_every_field_of_a_condition() -> None:
    """Each field a condition may read stands in the reference."""

    def paths(fields: dict[str, Any], above: str = "") -> list[str]:
        found = []
        for name, below in fields.items():
            path = f"{above}{name}"
            found += paths(below, f"{path}.") if isinstance(below, dict) and below else [path]
        return found

    missing = [p for p in paths(FIELDS) if p not in NAMED and p.rpartition(".")[2] not in NAMED]
    assert missing == []


def test_reference_describes_every_key_of_a_test() -> None:
    """Cases, short-hand calls and expectations, too."""
    keys = CASE_KEYS | USES_KEYS | set(CALL_KEYS) | set(CALLER_KEYS) | set(EXPECT_KEYS)
    assert unnamed(sorted(keys)) == []


def test_policies_of_the_reference_load(tmp_path: Path) -> None:
    """What a reader copies works."""
    examples = re.findall(r"```yaml\n(version: 1.*?)```", REFERENCE, re.S)
    assert examples
    for example in examples:
        assert problems_of(tmp_path, example) == []
