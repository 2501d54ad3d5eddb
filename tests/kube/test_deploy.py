"""The files of deploy/: they agree with the code, with the chart and with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.cli.client_environment import variables
from penstock.cli.run import command as run_command
from penstock.kube import sidecar
from penstock.kube.settings import Settings
from tests.kube.plain_manifests import MANIFESTS, helm_program, injected_pod, webhook_documents
from tests.kube.pods import assert_valid, pod

DEPLOY = MANIFESTS.parent
REPOSITORY = DEPLOY.parent


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


@pytest.mark.parametrize("file", sorted(MANIFESTS.glob("*.yaml")), ids=lambda file: file.name)
def test_every_plain_manifest_is_valid(file: Path) -> None:
    for document in documents(file.name):
        if not document["apiVersion"].startswith(("cert-manager.io/", "kustomize.config")):
            assert_valid(document)


def test_the_plain_webhook_is_what_the_chart_renders(tmp_path: Path) -> None:
    assert documents("webhook.yaml") == webhook_documents(helm_program(tmp_path))


def test_the_injected_pod_is_what_the_patch_makes() -> None:
    assert documents("pod-injected.yaml") == [injected_pod()]


def test_kustomize_builds_the_plain_manifests() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    built = subprocess.run(
        ["kubectl", "kustomize", str(MANIFESTS)], capture_output=True, text=True, check=True
    )
    kinds = {one["kind"] for one in yaml.safe_load_all(built.stdout)}
    assert {"Deployment", "Service", "MutatingWebhookConfiguration", "Certificate"} <= kinds


@pytest.mark.parametrize("redirect", [False, True])
def test_penstock_run_takes_every_argument_the_sidecar_is_given(
    redirect: bool, tmp_path: Path
) -> None:
    settings = Settings(redirect=redirect, policy="team", mode="shadow")
    container = sidecar.proxy_container(pod(), settings, "shop", 8080)
    name, *arguments = container["args"]
    assert name == "run"
    context = run_command.make_context("run", list(arguments))
    assert context.params["admin"] == ("0.0.0.0", 9900)
    assert bool(context.params["transparent"]) is redirect


def compose() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return data


def test_compose_gives_the_application_the_table_of_variables() -> None:
    expected = variables(
        "http://127.0.0.1:8080", "/etc/penstock/ca/ca.pem", "/etc/penstock/ca/ca-bundle.pem"
    )
    assert compose()["services"]["app"]["environment"] == expected


def test_compose_runs_penstock_with_options_it_has() -> None:
    name, *arguments = compose()["services"]["penstock"]["command"]
    assert name == "run"
    run_command.make_context("run", list(arguments))


def test_compose_mounts_only_what_is_there() -> None:
    data = compose()
    for service in data["services"].values():
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            assert source in data["volumes"] or (DEPLOY / source).exists(), mount


def test_compose_scrapes_the_admin_address_penstock_is_given() -> None:
    data = compose()
    config = yaml.safe_load(data["configs"]["prometheus"]["content"])
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"penstock:{sidecar.ADMIN_PORT}"]}]
    mounted = [one.split(":")[1] for one in data["services"]["prometheus"]["volumes"]]
    assert mounted == config["rule_files"]


def test_every_part_of_a_collector_pipeline_is_defined_and_used() -> None:
    config = yaml.safe_load((DEPLOY / "collector" / "config.yaml").read_text())
    used: dict[str, set[str]] = {"receivers": set(), "processors": set(), "exporters": set()}
    for pipeline in config["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        for kind, names in pipeline.items():
            used[kind] |= set(names)
    for kind, names in used.items():
        assert names == set(config[kind])
    assert set(config["service"]["extensions"]) == set(config["extensions"])


def test_the_image_copies_only_what_is_there_and_what_the_context_holds() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    assert copied
    for source in " ".join(copied).split():
        assert (REPOSITORY / source).exists(), source
        assert f"!{source}\n" in ignored, source


def test_the_image_runs_as_the_user_the_pod_names() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"USER {sidecar.USER}:{sidecar.USER}\n" in dockerfile
    assert f"COPY deploy/redirect.nft {sidecar.REDIRECT_RULES}\n" in dockerfile
    assert f"PENSTOCK_STATE_DIR={sidecar.STATE_DIRECTORY}\n" in dockerfile


def test_the_redirect_rules_name_the_sidecars_user_and_port() -> None:
    rules = (DEPLOY / "redirect.nft").read_text()
    assert f"meta skuid {sidecar.USER} return" in rules
    assert f"redirect to :{sidecar.TRANSPARENT_PORT}" in rules


def test_the_package_takes_the_shipped_policies_to_where_it_looks_for_them() -> None:
    """The image installs a wheel, where the checkout's policies folder is not beside it."""
    import tomllib

    from penstock.policy.language.shipped import PLACES

    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    taken = build["targets"]["wheel"]["force-include"]
    assert taken["policies"] == f"penstock/{PLACES[0].name}"
