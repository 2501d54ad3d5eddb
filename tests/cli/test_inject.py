"""`penstock inject --file`."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from penstock.cli.inject import command
from tests.kube.pods import assert_valid

DEPLOYMENT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: other, annotations: {released: 2026-01-31}}
data: {on: "yes"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers: [{name: app, image: "shop:1"}]
"""


def inject(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(command, list(arguments), input=text)


def test_every_document_comes_out_and_the_pods_hold_the_sidecar(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(DEPLOYMENT)
    result = inject("--file", str(file))
    assert result.exit_code == 0
    other, deployment = yaml.safe_load_all(result.stdout)
    assert other["metadata"]["annotations"]["released"] == "2026-01-31"
    pod = deployment["spec"]["template"]
    assert [one["name"] for one in pod["spec"]["initContainers"]] == ["penstock"]
    assert_valid(deployment)
    assert "&id" not in result.stdout
    assert "1 of 2 documents" in result.stderr


def test_what_was_printed_is_patched_no_further() -> None:
    once = inject("--file", "-", text=DEPLOYMENT).stdout
    assert inject("--file", "-", text=once).stdout == once


def test_json_is_printed_where_it_is_asked_for() -> None:
    result = inject("--file", "-", "--format", "json", text=DEPLOYMENT)
    assert [one["kind"] for one in json.loads(result.stdout)] == ["ConfigMap", "Deployment"]


def test_settings_are_used(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("image: registry.example/p:2\nsidecar: classic\n")
    result = inject("--file", "-", "--settings", str(settings), text=DEPLOYMENT)
    spec = list(yaml.safe_load_all(result.stdout))[1]["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "registry.example/p:2"


def test_a_refused_pod_prints_nothing_to_apply() -> None:
    text = DEPLOYMENT.replace(
        "    spec:\n      cont", "    spec:\n      hostNetwork: true\n      cont"
    )
    result = inject("--file", "-", text=text)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Deployment/shop" in result.stderr
    assert "node's network" in result.stderr


def test_wrong_input_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("imge: x")
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    wrong = [
        ["--file", str(tmp_path / "missing.yaml")],
        ["--file", str(tmp_path / "broken.yaml")],
        ["--file", str(tmp_path / "binary.yaml")],
        ["--file", "-", "--settings", str(tmp_path / "settings.yaml")],
        ["--listen", "nowhere"],
    ]
    for arguments in wrong:
        result = inject(*arguments, text=DEPLOYMENT)
        assert result.exit_code == 2, arguments
        assert isinstance(result.exception, SystemExit)
        assert "penstock inject:" in result.stderr
