"""What to inject: the webhook's settings and what one pod's annotations may change of them.

Pure data. A value that is unknown or malformed is an error that names it; it is never ignored,
because a misspelt setting would otherwise inject something else than was meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from penstock.cli.client_environment import CLUSTER

PREFIX = "penstock.dev/"

# An annotation in this set is read from the pod unless the settings take it off the list.
ANNOTATIONS = ("inject", "policy", "mode", "sidecar", "redirect", "no-proxy", "port", "workload")
MODES = ("observe", "shadow", "enforce")
SIDECARS = ("native", "classic")

# A DNS-1123 subdomain, which is what a ConfigMap's name must be; 253 is its limit.
CONFIG_MAP_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
# A host, domain suffix, address, network or kubelet reference in NO_PROXY.
NO_PROXY_ENTRY = re.compile(r"[A-Za-z0-9.*:/_\-]{1,253}|\$\([A-Z_]{1,100}\)")
NO_PROXY_ENTRIES_MAX = 200  # a kubelet hands the list to every process of the pod


@dataclass(frozen=True, slots=True)
class Settings:
    """What the sidecar of one pod looks like."""

    image: str = "ghcr.io/penstock/penstock:0.1.0"
    image_pull_policy: str = "IfNotPresent"
    sidecar: str = "native"  # native: an init container that keeps running (Kubernetes >= 1.29)
    redirect: bool = False  # catch clients that ignore the proxy variables; needs NET_ADMIN once
    mode: str | None = None  # None: what the policy file says
    policy: str | None = None  # ConfigMap in the pod's namespace; None: the policy in the image
    port: int | None = None  # None: 8080, or 15080 where the application declares 8080 itself
    no_proxy: tuple[str, ...] = CLUSTER
    workload: str | None = None  # None: derived from the owner or the labels
    otlp_endpoint: str | None = None
    resources: Mapping[str, Any] = field(
        default_factory=lambda: {
            "requests": {"cpu": "50m", "memory": "160Mi"},
            "limits": {"memory": "512Mi"},
        }
    )
    annotations: tuple[str, ...] = ANNOTATIONS  # those a pod may use


def load_settings(text: str) -> Settings:
    """Read settings from YAML. Raises ValueError naming the first wrong key or value."""
    import yaml

    data = yaml.safe_load(text) or {}
    if not isinstance(data, dict):
        raise ValueError("the settings must be a mapping of names to values")
    known = {one.name for one in fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise ValueError(f"{key}: unknown setting; known are {', '.join(sorted(known))}")
        if value is not None:
            values[name] = READERS[name](value)
    return Settings(**values)


def for_pod(settings: Settings, annotations: Mapping[str, str]) -> Settings:
    """``settings`` with the pod's own annotations applied. Raises ValueError with the reason."""
    values: dict[str, Any] = {}
    for key, value in annotations.items():
        name = key.removeprefix(PREFIX)
        if name == key or name not in ANNOTATIONS:
            continue
        if name not in settings.annotations:
            raise ValueError(f"annotation {key} is not open to pods in this cluster")
        if name == "inject":
            continue  # whether, not what
        attribute = name.replace("-", "_")
        try:
            values[attribute] = READERS[attribute](value)
        except ValueError as error:
            raise ValueError(f"annotation {key}: {error}") from None
    return replace(settings, **values)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise ValueError("must be a text of 1 to 1000 characters")
    return value


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


def _flag(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return str(value).lower() == "true"


def _port(value: Any) -> int:
    if not str(value).isascii() or not str(value).isdigit() or not 1024 <= int(value) <= 65535:
        raise ValueError("must be a port from 1024 to 65535")
    return int(value)


def _config_map(value: Any) -> str:
    if not isinstance(value, str) or not CONFIG_MAP_NAME.fullmatch(value):
        raise ValueError("must be the name of a ConfigMap in the pod's namespace")
    return value


def _no_proxy(value: Any) -> tuple[str, ...]:
    entries = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, list) or len(entries) > NO_PROXY_ENTRIES_MAX:
        raise ValueError(f"must be a list of at most {NO_PROXY_ENTRIES_MAX} hosts")
    stripped = tuple(str(entry).strip() for entry in entries if str(entry).strip())
    if "*" in stripped:
        raise ValueError("'*' would send everything past the proxy")
    for entry in stripped:
        if not NO_PROXY_ENTRY.fullmatch(entry):
            raise ValueError("holds something that is not a host, suffix, address or network")
    return stripped


def _resources(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value.keys() <= {"requests", "limits"}:
        raise ValueError("resources must hold requests and limits only")
    return value


def _annotations(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not set(value) <= set(ANNOTATIONS):
        raise ValueError(f"annotations must be a list out of {', '.join(ANNOTATIONS)}")
    return tuple(value)


READERS: dict[str, Callable[[Any], Any]] = {
    "image": _text,
    "image_pull_policy": _one_of(("Always", "IfNotPresent", "Never")),
    "sidecar": _one_of(SIDECARS),
    "redirect": _flag,
    "mode": _one_of(MODES),
    "policy": _config_map,
    "port": _port,
    "no_proxy": _no_proxy,
    "workload": _text,
    "otlp_endpoint": _text,
    "resources": _resources,
    "annotations": _annotations,
}
