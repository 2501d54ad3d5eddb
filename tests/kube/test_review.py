"""AdmissionReview in, AdmissionReview out."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonpatch
import pytest

from penstock.kube.patch import patch
from penstock.kube.review import operations, review
from penstock.kube.settings import Settings
from tests.kube.pods import annotated, pod


def asked(one: Any, operation: str = "CREATE", kind: str = "Pod") -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": kind},
            "operation": operation,
            "namespace": "store",
            "object": one,
        },
    }


def answer(one: Any, **request: str) -> dict[str, Any]:
    answered = review(asked(one, **request), Settings())
    assert answered["apiVersion"] == "admission.k8s.io/v1"
    assert answered["response"]["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
    response: dict[str, Any] = answered["response"]
    return response


def test_the_patch_applied_to_the_object_is_the_patched_pod() -> None:
    for one in (pod(), annotated(pod(), mode="shadow"), pod(initContainers=None)):
        response = answer(one)
        assert response["patchType"] == "JSONPatch"
        steps = json.loads(base64.b64decode(response["patch"]))
        assert jsonpatch.apply_patch(one, steps) == patch(one, Settings()).pod


def test_a_pod_that_is_already_patched_gets_no_patch() -> None:
    """So that being asked again (reinvocationPolicy) ends."""
    response = answer(patch(pod(), Settings()).pod)
    assert response == {"uid": response["uid"], "allowed": True}


def test_a_refusal_says_why_and_carries_no_patch() -> None:
    response = answer(pod(hostNetwork=True))
    assert response["allowed"] is False
    assert response["status"]["code"] == 403
    assert "node's network" in response["status"]["message"]
    assert "patch" not in response


@pytest.mark.parametrize("request_", [{"operation": "UPDATE"}, {"kind": "ConfigMap"}])
def test_anything_but_a_new_pod_is_let_alone(request_: dict[str, str]) -> None:
    assert answer(pod(), **request_)["allowed"] is True


def test_warnings_are_short_enough_for_the_api_server() -> None:
    own = [{"name": "HTTPS_PROXY", "value": "x"}]
    one = pod(containers=[{"name": f"{'c' * 60}{i}", "image": "i", "env": own} for i in range(40)])
    warnings = answer(one)["warnings"]
    assert len(warnings) <= 12
    assert all(len(warning) <= 256 for warning in warnings)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"kind": "AdmissionReview"},
        {"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {}},
        {**asked(pod()), "request": {"uid": 7}},
        asked("not a pod"),
    ],
)
def test_what_is_no_review_is_an_error(document: Any) -> None:
    with pytest.raises(ValueError, match=r"AdmissionReview|no object"):
        review(document, Settings())


def test_operations_escape_and_remove() -> None:
    before = {"metadata": {"annotations": {"a/b": "1"}, "gone": 1}, "spec": None}
    after = {"metadata": {"annotations": {"a/b": "2"}, "new/~": 1}, "spec": {}, "extra": 1}
    assert jsonpatch.apply_patch(before, operations(before, after)) == after
