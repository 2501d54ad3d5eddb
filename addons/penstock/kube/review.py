"""An AdmissionReview in, the AdmissionReview that answers it out. Pure.

Source: Kubernetes, "Dynamic Admission Control" (admission.k8s.io/v1); RFC 6902 for the patch.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from penstock.kube.patch import patch
from penstock.kube.settings import Settings

API_VERSION = "admission.k8s.io/v1"
WARNING_CHARACTERS_MAX = 256  # the API server drops what is longer
WARNINGS_MAX = 12  # and keeps 4096 characters in all


def review(document: Any, settings: Settings) -> dict[str, Any]:
    """Answer one review. Raises ValueError when ``document`` is not a v1 AdmissionReview."""
    request = document.get("request") if isinstance(document, Mapping) else None
    if (
        not isinstance(request, Mapping)
        or document.get("kind") != "AdmissionReview"
        or document.get("apiVersion") != API_VERSION
        or not isinstance(request.get("uid"), str)
    ):
        raise ValueError(f"not an AdmissionReview of {API_VERSION}")
    return {
        "apiVersion": API_VERSION,
        "kind": "AdmissionReview",
        "response": {"uid": request["uid"], **_response(request, settings)},
    }


def operations(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The RFC 6902 operations that turn ``before`` into ``after``, two levels deep.

    Whole lists are written anew: another webhook cannot run in between, so there is nothing
    that a finer patch would save.
    """
    listed: list[dict[str, Any]] = []
    for outer, value in after.items():
        if outer not in before:
            listed.append({"op": "add", "path": f"/{outer}", "value": value})
        elif isinstance(value, Mapping) and isinstance(before[outer], Mapping):
            old = before[outer]
            for key in value:
                if key not in old or old[key] != value[key]:
                    path = f"/{outer}/{_escaped(key)}"
                    listed.append({"op": "add", "path": path, "value": value[key]})
            for key in old.keys() - value.keys():
                listed.append({"op": "remove", "path": f"/{outer}/{_escaped(key)}"})
        elif value != before[outer]:
            listed.append({"op": "replace", "path": f"/{outer}", "value": value})
    return listed


def _response(request: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    pod = request.get("object")
    is_pod = (request.get("kind") or {}).get("kind") == "Pod"
    if request.get("operation") != "CREATE" or not is_pod:
        return {"allowed": True}
    if not isinstance(pod, Mapping):
        raise ValueError("the review of a created Pod holds no object")
    result = patch(pod, settings)
    if result.refused:
        message = f"penstock: {result.refused}"
        return {
            "allowed": False,
            "status": {"code": 403, "reason": "Forbidden", "message": message},
        }
    response: dict[str, Any] = {"allowed": True}
    if result.warnings:
        shortened = [one[:WARNING_CHARACTERS_MAX] for one in result.warnings]
        response["warnings"] = shortened[:WARNINGS_MAX]
    if listed := operations(pod, result.pod):
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(listed).encode()).decode()
    return response


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
