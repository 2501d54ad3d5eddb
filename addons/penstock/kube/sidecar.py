"""The containers and volumes that come into a pod: the proxy, and the redirect rules if asked.

Pure: builds dictionaries, reads nothing. The names and paths here are the pod's side of the
contract with `penstock run` (state directory, trust directory, ports).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.kube.settings import Settings
from penstock.kube.workload import resource_attributes

SIDECAR = "penstock"
REDIRECT = "penstock-redirect"

USER = 1337  # exempt from the redirect; no application container may run as it
ADMIN_PORT = 9900
TRANSPARENT_PORT = 15001

STATE_VOLUME = "penstock-state"  # CA key and audit log: mounted by the sidecar alone
TRUST_VOLUME = "penstock-ca"  # ca.pem and ca-bundle.pem: read-only in every other container
POLICY_VOLUME = "penstock-policy"
VOLUMES = (STATE_VOLUME, TRUST_VOLUME, POLICY_VOLUME)

STATE_DIRECTORY = "/var/lib/penstock"
TRUST_DIRECTORY = "/etc/penstock/ca"
POLICY_DIRECTORY = "/etc/penstock/policy"
POLICY_KEY = "policy.yaml"  # the ConfigMap's key
REDIRECT_RULES = "/usr/share/penstock/redirect.nft"  # in the image: deploy/redirect.nft

STATE_SIZE = "1280Mi"  # the audit log keeps 1 GiB at most; more evicts the pod, not the node
TRUST_SIZE = "4Mi"  # the public roots are about 300 KiB
START_SECONDS_MAX = 60
DRAIN_SECONDS = 5  # classic sidecar: how long the proxy outlives SIGTERM for the application

# Field references the sidecar needs; the names are what `penstock.caller` reads.
DOWNWARD = {
    "PENSTOCK_POD": "metadata.name",
    "PENSTOCK_POD_UID": "metadata.uid",
    "PENSTOCK_NAMESPACE": "metadata.namespace",
    "PENSTOCK_SERVICE_ACCOUNT": "spec.serviceAccountName",
    "PENSTOCK_NODE": "spec.nodeName",
}


def proxy_container(
    pod: Mapping[str, Any], settings: Settings, workload: str, port: int
) -> dict[str, Any]:
    """The sidecar: non-root, read-only root file system, no capability."""
    container: dict[str, Any] = {
        "name": SIDECAR,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": _arguments(settings, port),
        "env": _environment(pod, settings, workload),
        "ports": [{"name": "penstock-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        "resources": dict(settings.resources),
        "securityContext": {
            "runAsUser": USER,
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "workingDir": STATE_DIRECTORY,
        "volumeMounts": _mounts(settings),
        "startupProbe": _probe("/readyz", period=1, failures=START_SECONDS_MAX),
        "readinessProbe": _probe("/readyz", period=5, failures=3),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
    }
    if settings.sidecar == "native":
        container["restartPolicy"] = "Always"
    else:
        container["lifecycle"] = {
            # The kubelet starts containers in order and waits for this hook, so the CA is there
            # and the port is open before the application starts.
            "postStart": {"exec": {"command": ["penstock", "doctor", "--wait", "60"]}},
            "preStop": {"exec": {"command": ["sleep", str(DRAIN_SECONDS)]}},
        }
    return container


def redirect_container(settings: Settings) -> dict[str, Any]:
    """Sets the pod's redirect rules once and ends: the only part that holds NET_ADMIN."""
    return {
        "name": REDIRECT,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["nft", "-f", REDIRECT_RULES],
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"memory": "64Mi"},
        },
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def volumes(settings: Settings) -> list[dict[str, Any]]:
    """The volumes of the pod; the CA's public part is in memory and never on the node's disk."""
    listed: list[dict[str, Any]] = [
        {"name": STATE_VOLUME, "emptyDir": {"sizeLimit": STATE_SIZE}},
        {"name": TRUST_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": TRUST_SIZE}},
    ]
    if settings.policy:
        listed.append({"name": POLICY_VOLUME, "configMap": {"name": settings.policy}})
    return listed


def _arguments(settings: Settings, port: int) -> list[str]:
    arguments = [
        "run",
        f"--listen=127.0.0.1:{port}",
        f"--admin=0.0.0.0:{ADMIN_PORT}",  # probed by the kubelet, scraped by Prometheus
        f"--state-dir={STATE_DIRECTORY}",
        f"--trust-dir={TRUST_DIRECTORY}",
    ]
    if settings.policy:
        arguments.append(f"--policy={POLICY_DIRECTORY}/{POLICY_KEY}")
    if settings.mode:
        arguments.append(f"--mode={settings.mode}")
    if settings.redirect:
        arguments.append(f"--transparent=127.0.0.1:{TRANSPARENT_PORT}")
    return arguments


def _environment(pod: Mapping[str, Any], settings: Settings, workload: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
        for name, path in DOWNWARD.items()
    ]
    labels = (pod.get("metadata") or {}).get("labels") or {}
    values = {
        "PENSTOCK_WORKLOAD": workload,
        "PENSTOCK_LABELS": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "OTEL_RESOURCE_ATTRIBUTES": resource_attributes(pod, workload),
    }
    if settings.otlp_endpoint:
        values["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.otlp_endpoint
    return listed + [{"name": name, "value": value} for name, value in values.items()]


def _mounts(settings: Settings) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": STATE_VOLUME, "mountPath": STATE_DIRECTORY},
        {"name": TRUST_VOLUME, "mountPath": TRUST_DIRECTORY},
    ]
    if settings.policy:
        # A directory, not a subPath: only whole-directory mounts follow a changed ConfigMap.
        mounts.append({"name": POLICY_VOLUME, "mountPath": POLICY_DIRECTORY, "readOnly": True})
    return mounts


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": ADMIN_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
