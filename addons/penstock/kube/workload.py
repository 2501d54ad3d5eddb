"""The name of the workload a pod belongs to, and its OpenTelemetry resource attributes.

The downward API knows the pod, not the Deployment: the name is derived here, at admission, and
written into the sidecar's environment. Pure.

Source for the attributes: OpenTelemetry semantic conventions, "Kubernetes attributes"
(docs/non-normative/k8s-attributes.md, v1.44).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote


def workload_name(pod: Mapping[str, Any]) -> str:
    """The Deployment, StatefulSet, Job, ... that owns ``pod``; without an owner its own name."""
    metadata = pod.get("metadata") or {}
    labels = metadata.get("labels") or {}
    for owner in metadata.get("ownerReferences") or []:
        if not owner.get("controller", True):
            continue
        name = str(owner.get("name") or "")
        if owner.get("kind") == "ReplicaSet":
            # A ReplicaSet is named DEPLOYMENT-HASH, and the hash is a label of the pod.
            return name.removesuffix(f"-{labels.get('pod-template-hash', '')}")
        return name
    label = labels.get("app.kubernetes.io/name") or labels.get("app")
    own = metadata.get("name") or str(metadata.get("generateName") or "").rstrip("-")
    return str(label or own or "unknown")


def service_name(pod: Mapping[str, Any], workload: str) -> str:
    """``service.name`` in the order the conventions give: annotation, labels, owner."""
    metadata = pod.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    labels = metadata.get("labels") or {}
    return str(
        annotations.get("resource.opentelemetry.io/service.name")
        or labels.get("app.kubernetes.io/instance")
        or labels.get("app.kubernetes.io/name")
        or workload
    )


def resource_attributes(pod: Mapping[str, Any], workload: str) -> str:
    """The value of OTEL_RESOURCE_ATTRIBUTES; the kubelet fills in the ``$(...)`` references."""
    pairs = {
        "service.name": quote(service_name(pod, workload), safe=""),
        "service.instance.id": "$(PENSTOCK_NAMESPACE).$(PENSTOCK_POD).penstock",
        "k8s.namespace.name": "$(PENSTOCK_NAMESPACE)",
        "k8s.pod.name": "$(PENSTOCK_POD)",
        "k8s.pod.uid": "$(PENSTOCK_POD_UID)",
        "k8s.node.name": "$(PENSTOCK_NODE)",
        "k8s.container.name": "penstock",
    }
    return ",".join(f"{name}={value}" for name, value in pairs.items())
