"""The workload a sidecar belongs to, from the environment its pod gives it.

Kubernetes' downward API fills PENSTOCK_NAMESPACE, PENSTOCK_POD, PENSTOCK_SERVICE_ACCOUNT and
PENSTOCK_NODE; PENSTOCK_WORKLOAD is the owner's name (set by the injector); PENSTOCK_LABELS is
``name=value`` pairs, one a line as a downward-API volume has them, or comma separated.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.exchange import Workload

# Kubernetes: a label value has at most 63 characters, a key at most 253 + 1 + 63. A pod
# with more than 64 labels has made a mistake; the rest would only swell each Record.
LABELS_MAX = 64
LABEL_CHARACTERS_MAX = 380


def workload_from(environ: Mapping[str, str]) -> Workload:
    """The workload described by PENSTOCK_* variables; empty variables count as absent."""

    def value(name: str) -> str | None:
        return environ.get(f"PENSTOCK_{name}", "").strip() or None

    return Workload(
        name=value("WORKLOAD"),
        namespace=value("NAMESPACE"),
        pod=value("POD"),
        service_account=value("SERVICE_ACCOUNT"),
        node=value("NODE"),
        labels=_labels(environ.get("PENSTOCK_LABELS", "")),
    )


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for item in text.replace(",", "\n").splitlines():
        name, equals, value = item.strip().partition("=")
        if not equals or not name or len(item) > LABEL_CHARACTERS_MAX:
            continue
        labels[name.strip()] = value.strip().strip('"')
        if len(labels) == LABELS_MAX:
            break
    return labels
