"""A pod in, the pod with the sidecar out."""

from __future__ import annotations

import copy
import json
from itertools import product
from typing import Any

import pytest

from penstock.cli.client_environment import variables
from penstock.kube.patch import patch
from penstock.kube.settings import Settings
from tests.kube.pods import annotated, assert_valid, environment, pod

NATIVE = Settings()
CLASSIC = Settings(sidecar="classic")
REDIRECTED = Settings(redirect=True)


def patched(one: dict[str, Any], settings: Settings = NATIVE) -> dict[str, Any]:
    result = patch(one, settings)
    assert result.refused is None
    return result.pod


def containers(one: dict[str, Any]) -> dict[str, dict[str, Any]]:
    spec = one["spec"]
    return {c["name"]: c for c in [*spec.get("initContainers", []), *spec["containers"]]}


@pytest.mark.parametrize(
    ("sidecar", "redirect", "policy"),
    list(product(("native", "classic"), (False, True), (None, "team-policy"))),
)
def test_every_form_is_valid_on_three_versions(
    sidecar: str, redirect: bool, policy: str | None
) -> None:
    settings = Settings(sidecar=sidecar, redirect=redirect, policy=policy, mode="shadow")
    assert_valid(patched(pod(initContainers=[{"name": "migrate", "image": "shop:1"}]), settings))


@pytest.mark.parametrize("settings", [NATIVE, CLASSIC, REDIRECTED])
def test_patching_twice_changes_nothing(settings: Settings) -> None:
    own = [{"name": "HTTPS_PROXY", "value": "http://elsewhere:3128"}]
    one = pod(containers=[{"name": "app", "image": "shop:1", "env": own}])
    once = patched(one, settings)
    assert patched(once, settings) == once


def test_the_pod_that_was_handed_in_is_not_touched() -> None:
    one = pod()
    before = copy.deepcopy(one)
    patch(one, NATIVE)
    assert one == before


def test_a_native_sidecar_starts_before_the_applications_init_containers() -> None:
    one = patched(pod(initContainers=[{"name": "migrate", "image": "shop:1"}]), REDIRECTED)
    names = [container["name"] for container in one["spec"]["initContainers"]]
    assert names == ["penstock-redirect", "penstock", "migrate"]
    assert containers(one)["penstock"]["restartPolicy"] == "Always"
    assert containers(one)["penstock"]["startupProbe"]["httpGet"]["path"] == "/readyz"


def test_a_classic_sidecar_is_first_and_holds_the_application_until_it_is_ready() -> None:
    one = patched(pod(), CLASSIC)
    assert [container["name"] for container in one["spec"]["containers"]] == ["penstock", "app"]
    assert "initContainers" not in one["spec"]
    assert "postStart" in containers(one)["penstock"]["lifecycle"]
    assert "restartPolicy" not in containers(one)["penstock"]


def test_init_containers_a_classic_sidecar_cannot_cover_are_named_in_a_warning() -> None:
    one = pod(initContainers=[{"name": "migrate", "image": "shop:1"}])
    result = patch(one, CLASSIC)
    assert any("init containers" in warning for warning in result.warnings)
    assert "env" not in containers(result.pod)["migrate"]


def test_every_application_container_gets_the_table_of_variables() -> None:
    one = patched(pod(initContainers=[{"name": "migrate", "image": "shop:1"}]))
    expected = variables(
        "http://127.0.0.1:8080",
        "/etc/penstock/ca/ca.pem",
        "/etc/penstock/ca/ca-bundle.pem",
        NATIVE.no_proxy,
    )
    for name in ("app", "migrate"):
        assert environment(containers(one)[name]) == expected


def test_the_sidecar_is_unprivileged() -> None:
    context = containers(patched(pod(), REDIRECTED))["penstock"]["securityContext"]
    assert context["runAsUser"] == context["runAsGroup"] == 1337
    assert context["runAsNonRoot"] is context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_only_the_redirect_container_may_change_the_network() -> None:
    one = patched(pod(), REDIRECTED)
    holders = [
        name
        for name, container in containers(one).items()
        if container.get("securityContext", {}).get("capabilities", {}).get("add")
    ]
    assert holders == ["penstock-redirect"]
    assert "--transparent=127.0.0.1:15001" in containers(one)["penstock"]["args"]


def test_the_ca_key_is_out_of_the_applications_reach() -> None:
    """Even when the application's own manifest asks for the sidecar's volume."""
    steal = [{"name": "penstock-state", "mountPath": "/steal"}]
    one = patched(pod(containers=[{"name": "app", "image": "shop:1", "volumeMounts": steal}]))
    assert containers(one)["app"]["volumeMounts"] == [
        {"name": "penstock-ca", "mountPath": "/etc/penstock/ca", "readOnly": True}
    ]
    by_name = {volume["name"]: volume for volume in one["spec"]["volumes"]}
    assert by_name["penstock-ca"]["emptyDir"]["medium"] == "Memory"


def test_a_container_that_poses_as_the_sidecar_is_replaced() -> None:
    fake = {"name": "penstock", "image": "evil:1", "env": [{"name": "A", "value": "b"}]}
    one = patched(pod(initContainers=[fake]))
    assert [c["image"] for c in one["spec"]["initContainers"]] == [NATIVE.image]


def test_replaced_variables_are_said_in_annotation_and_warning() -> None:
    own = [
        {"name": "HTTPS_PROXY", "value": "http://elsewhere:3128"},
        {"name": "SSL_CERT_FILE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "COLOUR", "value": "blue"},
    ]
    result = patch(pod(containers=[{"name": "app", "image": "shop:1", "env": own}]), NATIVE)
    listed = environment(containers(result.pod)["app"])
    assert listed["HTTPS_PROXY"] == "http://127.0.0.1:8080"
    assert listed["COLOUR"] == "blue"
    replaced = json.loads(result.pod["metadata"]["annotations"]["penstock.dev/replaced"])
    assert replaced == {"app": ["HTTPS_PROXY", "SSL_CERT_FILE"]}
    assert result.warnings == ["container app: penstock replaces HTTPS_PROXY, SSL_CERT_FILE"]
    assert_valid(result.pod)


def test_a_variable_that_already_says_the_same_is_not_reported() -> None:
    own = [{"name": "HTTPS_PROXY", "value": "http://127.0.0.1:8080"}]
    result = patch(pod(containers=[{"name": "app", "image": "shop:1", "env": own}]), NATIVE)
    assert result.warnings == []
    assert "penstock.dev/replaced" not in result.pod["metadata"]["annotations"]


def test_a_forged_annotation_does_not_break_the_patch() -> None:
    for forged in ("{", "[1]", '{"app": 3}'):
        assert patch(annotated(pod(), replaced=forged), NATIVE).refused is None


def test_the_proxy_moves_away_from_a_port_the_application_declares() -> None:
    app = {"name": "app", "image": "shop:1", "ports": [{"containerPort": 8080}]}
    one = patched(pod(containers=[app]))
    assert environment(containers(one)["app"])["HTTPS_PROXY"] == "http://127.0.0.1:15080"
    assert "--listen=127.0.0.1:15080" in containers(one)["penstock"]["args"]


def test_annotations_choose_policy_mode_port_and_exceptions() -> None:
    one = annotated(pod(), policy="team", mode="shadow", port="18080", no_proxy="10.0.0.0/8, .corp")
    result = patched(one)
    proxy = containers(result)["penstock"]
    assert "--policy=/etc/penstock/policy/policy.yaml" in proxy["args"]
    assert "--mode=shadow" in proxy["args"]
    assert "--listen=127.0.0.1:18080" in proxy["args"]
    assert environment(containers(result)["app"])["NO_PROXY"] == "10.0.0.0/8,.corp"
    assert {"name": "penstock-policy", "configMap": {"name": "team"}} in result["spec"]["volumes"]
    assert_valid(result)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mode", "of"),
        ("port", "80"),
        ("port", "eighty"),
        ("policy", "../secret"),
        ("no_proxy", "*"),
        ("no_proxy", "a b"),
        ("redirect", "maybe"),
        ("sidecar", "none"),
        ("inject", "perhaps"),
    ],
)
def test_a_wrong_annotation_is_refused_by_name(name: str, text: str) -> None:
    """Ignoring it would admit a pod with something else than its author meant."""
    result = patch(annotated(pod(), **{name: text}), NATIVE)
    assert result.refused is not None
    assert f"penstock.dev/{name.replace('_', '-')}" in result.refused


def test_an_annotation_the_platform_closed_is_refused() -> None:
    result = patch(annotated(pod(), mode="observe"), Settings(annotations=("policy",)))
    assert result.refused == "annotation penstock.dev/mode is not open to pods in this cluster"


def test_a_pod_may_opt_out() -> None:
    one = annotated(pod(), inject="false")
    assert patched(one) == one


def test_opting_out_can_be_closed() -> None:
    refused = patch(annotated(pod(), inject="false"), Settings(annotations=("policy",))).refused
    assert refused == "annotation penstock.dev/inject is not open to pods in this cluster"


@pytest.mark.parametrize(
    "context",
    [
        {"runAsUser": 1337},
        {"privileged": True},
        {"capabilities": {"add": ["NET_ADMIN"]}},
        {"capabilities": {"add": ["ALL"]}},
    ],
)
def test_containers_that_could_undo_the_redirect_are_refused(context: dict[str, Any]) -> None:
    one = pod(containers=[{"name": "app", "image": "shop:1", "securityContext": context}])
    result = patch(one, REDIRECTED)
    assert result.refused is not None
    assert "container app" in result.refused
    assert result.pod == one


def test_a_user_set_for_the_whole_pod_counts_for_each_container() -> None:
    one = pod(securityContext={"runAsUser": 1337})
    assert patch(one, REDIRECTED).refused is not None


def test_a_pod_on_the_nodes_network_is_refused_with_the_way_out() -> None:
    refused = patch(pod(hostNetwork=True), NATIVE).refused
    assert refused is not None
    assert "penstock.dev/inject: 'false'" in refused


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": []},
        {"containers": ["app"]},
        {"containers": {"name": "app"}},
        {"initContainers": "none"},
        {"containers": [{"name": "app", "env": {"A": "b"}}]},
    ],
)
def test_what_is_no_pod_is_refused_not_raised(spec: dict[str, Any]) -> None:
    assert patch(pod(**spec), NATIVE).refused is not None


def test_the_sidecar_knows_its_workload() -> None:
    listed = environment(containers(patched(pod()))["penstock"])
    assert listed["PENSTOCK_WORKLOAD"] == "shop"
    assert listed["PENSTOCK_NAMESPACE"]["fieldRef"]["fieldPath"] == "metadata.namespace"
    assert "service.name=shop" in listed["OTEL_RESOURCE_ATTRIBUTES"]


def test_risks_of_the_pod_itself_are_said() -> None:
    result = patch(pod(shareProcessNamespace=True, restartPolicy="Never"), CLASSIC)
    assert any("process namespace" in warning for warning in result.warnings)
    assert any("native sidecar" in warning for warning in result.warnings)
