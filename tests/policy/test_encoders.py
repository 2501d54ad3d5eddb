"""``encoders`` in a policy: what loads, and what `penstock check` says of the rest."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli import main
from penstock.policy.language.load import load
from penstock.policy.language.problem import ConfigError

HEAD = "version: 1\nname: encoders\n"
NAMES = "rules:\n  - id: names\n    redact: {find: [pii.name]}\n"

INSTALLED = all(find_spec(name) is not None for name in ("onnx", "onnxruntime", "tokenizers"))
built = pytest.mark.skipif(
    not INSTALLED,
    reason="needs penstock[onnx], and onnx to build its models",
)


def problems(folder: Path, text: str) -> str:
    file = folder / "policy.yaml"
    file.write_text(HEAD + text)
    with pytest.raises(ConfigError) as refused:
        load([file])
    return str(refused.value)


@pytest.mark.parametrize(
    "rule",
    [
        "redact: {find: [secret, pii.name]}",
        "deny: {find: [pii.address]}",
        "route: {when_found: [pii.place], to: [{url: 'https://llm.internal.example/v1'}]}",
        "tools: {server: 'https://a.example/*', confine: [pii.organisation]}",
    ],
)
def test_a_rule_about_names_needs_a_model(tmp_path: Path, rule: str) -> None:
    said = problems(tmp_path, f"rules:\n  - id: names\n    {rule}\n")
    assert ":4: names: pii." in said and "pip install 'penstock[ner]'" in said


def test_personal_data_as_a_whole_needs_none(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(HEAD + "rules:\n  - id: all\n    redact: {find: [pii]}\n")
    assert load([file]).encoders == ()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{id: Big, path: m, sha256: {model.onnx: a}}", "an id has small letters"),
        ("{id: a, path: m, sha256: {weights.bin: a}}", "no 'weights.bin' among model.onnx"),
        ("{id: a, path: m, sha256: {model.onnx: abc}}", "64 hexadecimal digits"),
        ("{id: a, path: m}", "'sha256' is missing"),
        ("{id: a, path: m, sha256: {model.onnx: a}, threshold: 1}", "below 1"),
        ("{id: a, path: m, sha256: {model.onnx: a}, give_up_after: 5m}", "longer than 60s"),
        ("{id: a, path: m, sha256: {model.onnx: a}, ask: never}", "'never' is not known"),
        ("{id: a, path: m, sha256: {model.onnx: a}, url: x}", "unknown key 'url'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, entry: str, says: str) -> None:
    assert says in problems(tmp_path, f"encoders:\n  - {entry}\n{NAMES}")


@built
def test_a_folder_stands_beside_the_policy(tmp_path: Path) -> None:
    from tests.detect import tiny_models

    tiny_models.tagger(tmp_path / "models" / "names")
    entry = json.loads(tiny_models.setting(tmp_path / "models" / "names", "names"))[0]
    entry["path"] = "models/names"
    file = tmp_path / "policy.yaml"
    file.write_text(f"{HEAD}encoders: {json.dumps([entry])}\n{NAMES}")
    policy = load([file])
    assert policy.encoders[0].types == ("pii.address", "pii.name", "pii.organisation")
    assert policy.zones_of(("pii.name",)) >= {"user", "system", "tool_result"}
    assert policy.zones_of(("pii.address",)) == frozenset()  # no rule asks
    found = CliRunner().invoke(main, ["check", str(file)])
    assert found.exit_code == 0
    assert "note: encoder names: loads, judges words (B-PER = pii.name" in found.output


@built
def test_check_says_the_digests_to_write_down(tmp_path: Path) -> None:
    from tests.detect import tiny_models

    folder = tiny_models.tagger(tmp_path / "names")
    said = problems(tmp_path, f"encoders: [{{id: a, path: names}}]\n{NAMES}")
    for name, digest in tiny_models.digests(folder).items():
        assert f"{name}: {digest}" in said


@built
def test_a_changed_model_is_no_policy_and_one_is_named_twice(tmp_path: Path) -> None:
    from tests.detect import tiny_models

    folder = tiny_models.tagger(tmp_path / "names")
    setting = tiny_models.setting(folder)
    twice = json.dumps(json.loads(setting) * 2)
    assert "'tiny' is the id of another encoder" in problems(
        tmp_path, f"encoders: {twice}\n{NAMES}"
    )
    (folder / "config.json").write_text("{}")
    said = problems(tmp_path, f"encoders: {setting}\n{NAMES}")
    assert "config.json is not the file the policy names" in said
    assert "penstock[ner]" not in said  # one problem, said once


@built
def test_a_missing_extra_is_said_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.detect import tiny_models

    setting = tiny_models.setting(tiny_models.tagger(tmp_path / "names"))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    said = problems(tmp_path, f"encoders: {setting}\n{NAMES}")
    assert "encoders[0]: needs onnxruntime and tokenizers: pip install 'penstock[onnx]'" in said


@built
def test_scan_uses_a_policys_encoders(tmp_path: Path) -> None:
    from tests.detect import tiny_models

    setting = tiny_models.setting(tiny_models.tagger(tmp_path / "names"))
    file, text = tmp_path / "policy.yaml", tmp_path / "text.txt"
    file.write_text(f"{HEAD}encoders: {setting}\n{NAMES}")
    text.write_text("It was Ada Lovelace.")
    alone = CliRunner().invoke(main, ["scan", "--find", "pii.name", str(text)])
    assert alone.exit_code == 2 and "--policy" in alone.output
    found = CliRunner().invoke(
        main, ["scan", "--policy", str(file), "--find", "pii.name", "--format", "json", str(text)]
    )
    assert found.exit_code == 1 and '"pii.name"' in found.output
    assert "Lovelace" not in found.output


@built
def test_doctor_says_whether_models_load(tmp_path: Path) -> None:
    from penstock.cli.diagnosis.installation import check_policies
    from tests.detect import tiny_models

    folder = tiny_models.tagger(tmp_path / "names")
    file = tmp_path / "policy.yaml"
    file.write_text(f"{HEAD}encoders: {tiny_models.setting(folder)}\n{NAMES}")
    checks = check_policies([file])
    assert [one.status for one in checks] == ["ok", "ok"] and "tiny: loads" in checks[1].found
    (folder / "model.onnx").write_bytes(b"")
    (broken,) = check_policies([file])
    assert broken.status == "broken" and "model.onnx is not the file" in broken.found


def test_the_list_says_what_is_off() -> None:
    found = CliRunner().invoke(main, ["detectors", "list", "pii.name", "pii.address"])
    assert found.exit_code == 0
    assert found.output.count("off: needs penstock[ner] and a model") == 2
