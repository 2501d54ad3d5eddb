"""Pods, and the schema check every patched one must pass."""

from __future__ import annotations

from typing import Any

import kubernetes_validate

# The first version that runs native sidecars by default, one in the middle, the newest known.
KUBERNETES_VERSIONS = ("1.29", "1.33", "1.37")


def assert_valid(manifest: dict[str, Any]) -> None:
    """Strict: a misspelt or misplaced field is an error, on each version."""
    for version in KUBERNETES_VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


def pod(**spec: Any) -> dict[str, Any]:
    """A pod of a Deployment as the API server hands it to a webhook."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "shop-7d9c5b8f6d-",
            "namespace": "store",
            "labels": {"app": "shop", "pod-template-hash": "7d9c5b8f6d"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "shop-7d9c5b8f6d",
                    "uid": "1b9ecd5e-9d3d-4a43-9b43-0a9f1b3b7a10",
                    "controller": True,
                }
            ],
        },
        "spec": {"containers": [{"name": "app", "image": "shop:1"}], **spec},
    }


def annotated(one: dict[str, Any], **annotations: str) -> dict[str, Any]:
    """``one`` with ``penstock.dev/`` annotations; underscores stand for dashes."""
    named = {f"penstock.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return {**one, "metadata": {**one["metadata"], "annotations": named}}


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
