"""The chart, rendered by helm: valid, and agreeing with the webhook it deploys."""

from __future__ import annotations

import base64
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from penstock.kube.settings import ANNOTATIONS, Settings, load_settings
from tests.kube.plain_manifests import CHART, helm_program
from tests.kube.pods import KUBERNETES_VERSIONS, assert_valid

VARIANTS = {
    "defaults": {},
    "one replica": {"webhook": {"replicas": 1}, "networkPolicy": {"enabled": False}},
    "cert-manager": {"certificate": {"certManager": True}},
    "everything": {
        "image": {"digest": f"sha256:{'a' * 64}"},
        "imagePullSecrets": [{"name": "registry"}],
        "certificate": {"certManager": True, "issuerRef": {"name": "ca", "kind": "ClusterIssuer"}},
        "sidecar": {
            "kind": "classic",
            "redirect": True,
            "mode": "shadow",
            "noProxy": [".svc", "10.0.0.0/8"],
            "otlpEndpoint": "http://collector.observability:4318",
            "annotations": [],
        },
        "policy": {"content": "version: 1\nname: team\nrules: []\n", "namespaces": ["a", "b"]},
        "webhook": {
            "failurePolicy": "Ignore",
            "priorityClassName": "system-cluster-critical",
            "podAnnotations": {"a": "b"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
        },
    },
}


class Helm:
    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.folder = folder

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={"HOME": str(self.folder)},
            timeout=60,
        )

    def render(self, values: dict[str, Any], version: str = "1.33") -> list[dict[str, Any]]:
        (self.folder / "values.yaml").write_text(yaml.safe_dump(values))
        finished = self.run(
            *("template", "gate", str(CHART), "--namespace", "penstock"),
            *("--values", "values.yaml", "--kube-version", version),
        )
        assert finished.returncode == 0, finished.stderr
        return [one for one in yaml.safe_load_all(finished.stdout) if one]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    folder = tmp_path_factory.mktemp("helm")
    return Helm(helm_program(folder), folder)


def one_of(kind: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [one for one in documents if one["kind"] == kind]
    return found


def settings_of(documents: list[dict[str, Any]]) -> Settings:
    by_name = {one["metadata"]["name"]: one for one in documents if one["kind"] == "ConfigMap"}
    return load_settings(by_name["gate-webhook"]["data"]["settings.yaml"])


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_rendered_manifest_is_valid(helm: Helm, values: dict[str, Any], version: str) -> None:
    for document in helm.render(values, version):
        if not document["apiVersion"].startswith("cert-manager.io/"):  # not in Kubernetes' schema
            assert_valid(document)


def test_helm_lint_finds_nothing(helm: Helm) -> None:
    finished = helm.run("lint", "--strict", str(CHART))
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize(
    "values",
    [
        {"sidecar": {"kind": "naive"}},
        {"webhook": {"failurePolicy": "Maybe"}},
        {"webhok": {}},
        {"image": {"digest": "latest"}},
        {"webhook": {"namespaceSelector": None}},
        {"sidecar": {"annotations": ["colour"]}},
    ],
)
def test_wrong_values_are_refused_before_anything_is_rendered(
    helm: Helm, values: dict[str, Any]
) -> None:
    """No namespaceSelector, for one, would put every pod of the cluster at stake."""
    (helm.folder / "values.yaml").write_text(yaml.safe_dump(values))
    finished = helm.run("template", "gate", str(CHART), "--values", "values.yaml")
    assert finished.returncode != 0
    assert "values don't meet the specifications of the schema" in finished.stderr


def test_the_webhook_reads_the_settings_the_chart_writes(helm: Helm) -> None:
    """By the webhook's own reader, which knows no unknown key."""
    defaults = settings_of(helm.render({}))
    assert defaults == Settings()
    chosen = settings_of(helm.render(VARIANTS["everything"]))
    assert chosen == Settings(
        image=f"ghcr.io/penstock/penstock@sha256:{'a' * 64}",
        sidecar="classic",
        redirect=True,
        mode="shadow",
        policy="penstock-policy",
        no_proxy=(".svc", "10.0.0.0/8"),
        otlp_endpoint="http://collector.observability:4318",
        annotations=(),
    )


def test_the_certificate_is_vouched_for_by_the_bundle_and_names_the_service(helm: Helm) -> None:
    documents = helm.render({})
    webhook = one_of("MutatingWebhookConfiguration", documents)["webhooks"][0]
    secret = one_of("Secret", documents)["data"]
    assert webhook["clientConfig"]["caBundle"] == secret["ca.crt"]
    ca, certificate = (
        x509.load_pem_x509_certificate(base64.b64decode(secret[name]))
        for name in ("ca.crt", "tls.crt")
    )
    certificate.verify_directly_issued_by(ca)
    assert ca.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "gate-webhook.penstock.svc" in names.get_values_for_type(x509.DNSName)
    service = webhook["clientConfig"]["service"]
    assert f"{service['name']}.{service['namespace']}.svc" == "gate-webhook.penstock.svc"
    ssl.create_default_context(cadata=base64.b64decode(secret["ca.crt"]).decode())


def test_service_deployment_and_webhook_point_at_each_other(helm: Helm) -> None:
    documents = helm.render({})
    deployment, service = one_of("Deployment", documents), one_of("Service", documents)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert one_of("NetworkPolicy", documents)["spec"]["podSelector"]["matchLabels"].items() <= (
        labels.items()
    )
    ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert service["spec"]["ports"][0]["targetPort"] in [port["name"] for port in ports]


def test_the_webhook_has_no_rights_and_its_own_namespace_does_not_wait_for_it(helm: Helm) -> None:
    documents = helm.render({})
    assert not {"Role", "ClusterRole", "RoleBinding"} & {one["kind"] for one in documents}
    assert one_of("ServiceAccount", documents)["automountServiceAccountToken"] is False
    webhook = one_of("MutatingWebhookConfiguration", documents)["webhooks"][0]
    (exempt,) = webhook["namespaceSelector"]["matchExpressions"]
    assert set(exempt["values"]) == {"penstock", "kube-system"}
    assert webhook["failurePolicy"] == "Fail"


def test_the_policy_is_written_into_every_namespace_named(helm: Helm) -> None:
    documents = helm.render(VARIANTS["everything"])
    policies = [one for one in documents if one["metadata"]["name"] == "penstock-policy"]
    assert [one["metadata"]["namespace"] for one in policies] == ["a", "b"]
    for one in policies:
        assert yaml.safe_load(one["data"]["policy.yaml"])["name"] == "team"


def test_the_charts_defaults_name_every_annotation() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert tuple(values["sidecar"]["annotations"]) == ANNOTATIONS
