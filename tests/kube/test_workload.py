"""The workload a pod belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.kube.workload import resource_attributes, workload_name
from tests.kube.pods import pod


def owned(kind: str, name: str, **labels: str) -> dict[str, Any]:
    owner = {"kind": kind, "name": name, "controller": True}
    return {"metadata": {"labels": labels, "ownerReferences": [owner]}}


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (pod(), "shop"),
        (owned("ReplicaSet", "orphaned"), "orphaned"),
        (owned("StatefulSet", "db"), "db"),
        ({"metadata": {"labels": {"app": "cart"}, "name": "cart-1"}}, "cart"),
        ({"metadata": {"generateName": "job-"}}, "job"),
        ({"metadata": None}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_the_name_is_the_owners(one: dict[str, Any], name: str) -> None:
    assert workload_name(one) == name


def test_an_attribute_value_cannot_smuggle_in_another_attribute() -> None:
    one = {"metadata": {"annotations": {"resource.opentelemetry.io/service.name": "a,b=c"}}}
    assert resource_attributes(one, "w").startswith("service.name=a%2Cb%3Dc,service.instance.id=")
