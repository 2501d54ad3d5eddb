"""Pods found in manifests of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.kube.manifests import patch_document
from penstock.kube.settings import Settings
from tests.kube.pods import assert_valid, pod

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "shop"}},
    "spec": {"containers": [{"name": "app", "image": "shop:1"}]},
}
SELECTED: dict[str, Any] = {"selector": {"matchLabels": {"app": "shop"}}, "template": TEMPLATE}
JOB_TEMPLATE: dict[str, Any] = {
    **TEMPLATE,
    "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"},
}


def manifest(api: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "the-owner"}, "spec": spec}


@pytest.mark.parametrize(
    "document",
    [
        manifest("apps/v1", "Deployment", SELECTED),
        manifest("apps/v1", "StatefulSet", {**SELECTED, "serviceName": "shop"}),
        manifest("apps/v1", "DaemonSet", SELECTED),
        manifest("apps/v1", "ReplicaSet", SELECTED),
        manifest("batch/v1", "Job", {"template": JOB_TEMPLATE}),
        manifest(
            "batch/v1",
            "CronJob",
            {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}},
        ),
    ],
    ids=lambda document: document["kind"],
)
def test_templates_are_patched_where_they_stand(document: dict[str, Any]) -> None:
    result = patch_document(document, Settings())
    assert result.pods == 1
    assert_valid(result.document)
    assert patch_document(result.document, Settings()).document == result.document
    assert "ownerReferences" not in str(result.document)
    assert "'value': 'the-owner'" in str(result.document)  # PENSTOCK_WORKLOAD


def test_every_item_of_a_list_is_patched() -> None:
    other = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}}
    document = {"apiVersion": "v1", "kind": "List", "items": [pod(), other, pod()]}
    result = patch_document(document, Settings())
    assert result.pods == 2
    assert result.document["items"][1] == other


def test_what_holds_no_pod_comes_back_as_it_was() -> None:
    for document in (None, "text", {"kind": "Service", "spec": {}}, {"kind": "List"}):
        assert patch_document(document, Settings()).pods == 0


@pytest.mark.parametrize("spec", [None, {}, {"template": None}, {"template": {"spec": []}}])
def test_a_controller_without_a_pod_is_refused_by_name(spec: Any) -> None:
    result = patch_document(manifest("apps/v1", "Deployment", spec), Settings())
    assert result.refused == ["Deployment/the-owner: holds no pod specification"]
