"""A key from HashiCorp Vault or OpenBao over its HTTP API: KV version 2, or any engine that
answers a read with fields (KV 1, the AWS engine's short-lived keys).

Logs in with a token file (an agent renews it) or a Kubernetes service account token.
"""

from __future__ import annotations

from typing import Any

from penstock.route.credentials.ask import ask_json
from penstock.route.credentials.fetched import Fetched, SourceError, lifetime, usable
from penstock.route.credentials.file import read
from penstock.route.credentials.parse import aws_keys
from penstock.route.credentials.spec import Spec

EVERY_SECONDS = 300
# While Vault is sealed or away, a key without a lease stays good.
STALE_SECONDS = 3600.0
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
AWS_FIELDS = ("access_key", "secret_key", "security_token")


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """The field of the secret. SourceError says why there is none."""
    address, ca = spec.get("address").rstrip("/"), spec.get("ca")
    headers = {"x-vault-token": _token(spec, address), "x-vault-request": "true"}
    if namespace := spec.get("namespace"):
        headers["x-vault-namespace"] = namespace
    answer = ask_json(f"{address}/v1/{spec.get('path').strip('/')}", headers=headers, ca=ca)
    data = answer.get("data")
    if isinstance(data, dict) and isinstance(data.get("data"), dict) and "metadata" in data:
        data = data["data"]  # KV version 2
    if not isinstance(data, dict):
        raise SourceError("Vault's answer holds no data")
    value = aws_keys(data, AWS_FIELDS) if spec.form == "sigv4" else _field(spec, data)
    lease = answer.get("lease_duration")
    if isinstance(lease, int) and lease > 0 and answer.get("lease_id"):
        return Fetched(value, *lifetime(now, lease))
    every = float(spec.get("every") or EVERY_SECONDS)
    return Fetched(value, now + every, stale_seconds=STALE_SECONDS)


def _field(spec: Spec, data: dict[str, Any]) -> str:
    name = spec.get("field") or "key"
    if name not in data:
        raise SourceError(f"the secret has no field '{name}'")
    return usable(data[name])


def _token(spec: Spec, address: str) -> str:
    if file := spec.get("token_file"):
        return usable(read(file))
    headers = {"x-vault-namespace": spec.get("namespace")} if spec.get("namespace") else {}
    login = ask_json(
        f"{address}/v1/auth/{spec.get('mount') or 'kubernetes'}/login",
        headers=headers,
        document={
            "role": spec.get("role"),
            "jwt": usable(read(spec.get("service_account_file") or SERVICE_ACCOUNT)),
        },
        ca=spec.get("ca"),
    )
    auth = login.get("auth")
    return usable(auth.get("client_token") if isinstance(auth, dict) else None)
