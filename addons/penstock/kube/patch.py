"""A pod in, the pod with the sidecar out. Pure, and the same answer when asked twice.

What the pod's author wrote is replaced only where it would lead around the proxy or away from
its CA, and each replacement is written into an annotation and returned as a warning. A pod the
sidecar cannot guard is refused, never half patched.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.cli.client_environment import variables
from penstock.kube import sidecar
from penstock.kube.settings import PREFIX, Settings, for_pod
from penstock.kube.workload import workload_name

PORT = 8080
PORT_WHERE_TAKEN = 15080  # the containers of a pod share one network, and 8080 is a common port

INJECT = f"{PREFIX}inject"  # "false": leave this pod alone
STATUS = f"{PREFIX}status"  # written: "injected"
REPLACED = f"{PREFIX}replaced"  # written: {"container": ["VARIABLE", ...]}

OUR_CONTAINERS = (sidecar.SIDECAR, sidecar.REDIRECT)


@dataclass(frozen=True, slots=True)
class Patched:
    """The pod to admit. ``refused`` is set when it must not be; the pod is then untouched."""

    pod: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    refused: str | None = None


def patch(pod: Mapping[str, Any], settings: Settings) -> Patched:
    """Add sidecar, volumes and variables to ``pod`` (a v1 Pod or a pod template)."""
    original = copy.deepcopy(dict(pod))
    annotations = _annotations(pod)
    try:
        chosen = for_pod(settings, annotations)
    except ValueError as error:
        return Patched(original, refused=str(error))
    wanted = str(annotations.get(INJECT, "true")).lower()
    if wanted == "false":
        return Patched(original)
    if wanted != "true":
        return Patched(original, refused=f"annotation {INJECT} must be true or false")
    if reason := unguardable(pod, chosen):
        return Patched(original, refused=reason)
    return _injected(copy.deepcopy(original), chosen)


def unguardable(pod: Mapping[str, Any], settings: Settings) -> str | None:
    """Why the sidecar could not guard ``pod``, or None."""
    spec = pod.get("spec") or {}
    if problem := _misshapen(spec):
        return problem
    if spec.get("hostNetwork"):
        return (
            f"the pod uses the node's network, where a sidecar cannot stand; set {INJECT}: 'false'"
        )
    if not settings.redirect:
        return None
    pod_user = (spec.get("securityContext") or {}).get("runAsUser")
    for container in _containers(spec):
        context = container.get("securityContext") or {}
        name = container.get("name")
        if context.get("runAsUser", pod_user) == sidecar.USER:
            return f"container {name} runs as uid {sidecar.USER}, which the redirect leaves alone"
        added = (context.get("capabilities") or {}).get("add") or []
        if context.get("privileged") or {"NET_ADMIN", "CAP_NET_ADMIN", "ALL"} & set(added):
            return f"container {name} may change the network rules (privileged or NET_ADMIN)"
    return None


def _misshapen(spec: Mapping[str, Any]) -> str | None:
    """What makes this no pod at all. The API server has looked already; a file has not been."""
    if not spec.get("containers"):
        return "spec.containers is missing or empty"
    for key in ("initContainers", "containers", "volumes"):
        listed = spec.get(key) or []
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            return f"spec.{key} must be a list of mappings"
    for container in _containers(spec):
        for key in ("env", "ports", "volumeMounts"):
            listed = container.get(key) or []
            if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
                return f"container {container.get('name')}: {key} must be a list of mappings"
    return None


def _injected(pod: dict[str, Any], settings: Settings) -> Patched:
    spec = pod["spec"]
    port = settings.port or _free_port(spec)
    native = settings.sidecar == "native"
    own_inits = [one for one in spec.get("initContainers") or [] if not _ours(one)]
    own = [one for one in spec["containers"] if not _ours(one)]

    replaced = _recorded(pod)
    for container in [*own, *own_inits] if native else own:
        if names := _guide(container, settings, port):
            known = replaced.setdefault(str(container.get("name")), [])
            replaced[str(container.get("name"))] = sorted({*known, *names})

    workload = settings.workload or workload_name(pod)
    proxy = sidecar.proxy_container(pod, settings, workload, port)
    redirect = [sidecar.redirect_container(settings)] if settings.redirect else []
    # Native: rules and proxy come first, so that the application's init containers are covered.
    # Classic: the rules come last, or these would be cut off from a proxy not yet started.
    inits = [*redirect, proxy, *own_inits] if native else [*own_inits, *redirect]
    spec["containers"] = own if native else [proxy, *own]
    if inits:
        spec["initContainers"] = inits
    else:
        spec.pop("initContainers", None)
    kept = [one for one in spec.get("volumes") or [] if one.get("name") not in sidecar.VOLUMES]
    spec["volumes"] = kept + sidecar.volumes(settings)

    annotations = _annotations(pod)
    annotations[STATUS] = "injected"
    if replaced:
        annotations[REPLACED] = json.dumps(replaced, sort_keys=True)
    pod["metadata"] = {**(pod.get("metadata") or {}), "annotations": annotations}
    return Patched(pod, _warnings(spec, native, bool(own_inits), replaced))


def _warnings(
    spec: Mapping[str, Any], native: bool, inits: bool, replaced: Mapping[str, list[str]]
) -> list[str]:
    """What the person who applies the pod should know; the API server shows it to them."""
    said = [f"container {name}: penstock replaces {', '.join(r)}" for name, r in replaced.items()]
    if inits and not native:
        said.append("a classic sidecar starts after the init containers: these are not covered")
    if spec.get("restartPolicy") in ("Never", "OnFailure") and not native:
        said.append("a classic sidecar keeps running when a job ends: use the native sidecar")
    if spec.get("shareProcessNamespace"):
        said.append("with a shared process namespace, root in any container can read the CA key")
    return said


def _guide(container: dict[str, Any], settings: Settings, port: int) -> list[str]:
    """Point one container's clients at the proxy; returns the names of the values replaced."""
    listed = container.get("env") or []
    at = {variable.get("name"): index for index, variable in enumerate(listed)}
    replaced = []
    wanted = variables(
        f"http://127.0.0.1:{port}",
        f"{sidecar.TRUST_DIRECTORY}/ca.pem",
        f"{sidecar.TRUST_DIRECTORY}/ca-bundle.pem",
        settings.no_proxy,
    )
    for name, value in wanted.items():
        variable = {"name": name, "value": value}
        if name not in at:
            listed.append(variable)
        elif listed[at[name]] != variable:
            listed[at[name]] = variable
            replaced.append(name)
    container["env"] = listed
    mount = {
        "name": sidecar.TRUST_VOLUME,
        "mountPath": sidecar.TRUST_DIRECTORY,
        "readOnly": True,
    }
    mounts = [
        one
        for one in container.get("volumeMounts") or []
        # The sidecar's own volumes hold the CA key: nobody else mounts them.
        if one.get("name") not in sidecar.VOLUMES
    ]
    container["volumeMounts"] = [*mounts, mount]
    return replaced


def _free_port(spec: Mapping[str, Any]) -> int:
    taken = {
        port.get("containerPort")
        for container in _containers(spec)
        for port in container.get("ports") or []
    }
    return PORT_WHERE_TAKEN if PORT in taken else PORT


def _containers(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The application's containers, init containers included, ours left out."""
    for key in ("initContainers", "containers"):
        for container in spec.get(key) or []:
            if not _ours(container):
                yield container


def _ours(container: Mapping[str, Any]) -> bool:
    return container.get("name") in OUR_CONTAINERS


def _annotations(pod: Mapping[str, Any]) -> dict[str, str]:
    return dict((pod.get("metadata") or {}).get("annotations") or {})


def _recorded(pod: Mapping[str, Any]) -> dict[str, list[str]]:
    """What an earlier patch of the same pod replaced; a forged annotation is dropped."""
    try:
        data = json.loads(_annotations(pod).get(REPLACED, "{}"))
    except ValueError:
        return {}
    if not isinstance(data, dict):
        return {}
    return {
        str(name): [str(one) for one in listed]
        for name, listed in data.items()
        if isinstance(listed, list)
    }
