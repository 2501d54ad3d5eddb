"""Find the pods in Kubernetes manifests and patch them where they stand.

Pure. Every other document, and every other field of a patched one, is handed back as it came.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.kube.patch import patch
from penstock.kube.settings import Settings

# kind -> the path of its pod template
TEMPLATES: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
DEPTH_MAX = 5  # lists of lists


@dataclass(slots=True)
class PatchedDocument:
    """One document after patching; ``pods`` counts the pods in it that carry the sidecar."""

    document: Any
    pods: int = 0
    warnings: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def patch_document(document: Any, settings: Settings, depth: int = 0) -> PatchedDocument:
    """Patch the pod, pod template or list of them in ``document``."""
    if not isinstance(document, dict):
        return PatchedDocument(document)
    if document.get("kind") == "List" and depth < DEPTH_MAX:
        return _patch_list(document, settings, depth)
    path = TEMPLATES.get(str(document.get("kind")))
    if path is None:
        return PatchedDocument(document)
    return _patch_template(copy.deepcopy(document), path, settings)


def _patch_list(document: dict[str, Any], settings: Settings, depth: int) -> PatchedDocument:
    result = PatchedDocument({**document, "items": []})
    for item in document.get("items") or []:
        one = patch_document(item, settings, depth + 1)
        result.document["items"].append(one.document)
        result.pods += one.pods
        result.warnings += one.warnings
        result.refused += one.refused
    return result


def _patch_template(
    document: dict[str, Any], path: tuple[str, ...], settings: Settings
) -> PatchedDocument:
    metadata = document.get("metadata") or {}
    title = f"{document['kind']}/{metadata.get('name', '?')}"
    parent: Any = document
    for key in path[:-1]:
        parent = parent.get(key) if isinstance(parent, Mapping) else None
    template = parent.get(path[-1]) if path and isinstance(parent, Mapping) else parent
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return PatchedDocument(document, refused=[f"{title}: holds no pod specification"])

    # A template has no owner yet: the controller's own name is the workload's.
    named = template
    if path and not (template.get("metadata") or {}).get("name"):
        owner = {"kind": document["kind"], "name": metadata.get("name", "unknown")}
        named = {**template, "metadata": {**(template.get("metadata") or {})}}
        named["metadata"]["ownerReferences"] = [owner]
    result = patch(named, settings)
    if result.refused:
        return PatchedDocument(document, refused=[f"{title}: {result.refused}"])
    patched = result.pod
    if named is not template:
        del patched["metadata"]["ownerReferences"]
    if path:
        parent[path[-1]] = patched
    else:
        document = patched
    injected = patched != template or "penstock.dev/status" in (
        patched["metadata"].get("annotations") or {}
    )
    return PatchedDocument(document, int(injected), [f"{title}: {one}" for one in result.warnings])
