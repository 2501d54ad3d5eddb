"""A Microsoft Entra token for a federated workload identity (AKS, or any OIDC issuer).

The variables the workload identity webhook puts into a pod are the defaults, so
``from: {azure: {}}`` is enough there.
"""

from __future__ import annotations

import os

from penstock.route.credentials.ask import address_problem, ask_json
from penstock.route.credentials.fetched import Fetched, SourceError, usable
from penstock.route.credentials.file import read
from penstock.route.credentials.oauth import token
from penstock.route.credentials.spec import Spec

AUTHORITY = "https://login.microsoftonline.com"
SCOPE = "https://cognitiveservices.azure.com/.default"  # Azure OpenAI and AI services
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
VARIABLES = {
    "tenant": "AZURE_TENANT_ID",
    "client_id": "AZURE_CLIENT_ID",
    "token_file": "AZURE_FEDERATED_TOKEN_FILE",
}


def fetch(spec: Spec, now: float, subject: str | None = None) -> Fetched:
    """A token of the identity. SourceError says why there is none."""
    given = {name: spec.get(name) or os.environ.get(var, "") for name, var in VARIABLES.items()}
    missing = [f"{name} ({VARIABLES[name]})" for name, value in given.items() if not value]
    if missing:
        raise SourceError(f"not in the rule nor in the environment: {', '.join(missing)}")
    authority = spec.get("authority") or os.environ.get("AZURE_AUTHORITY_HOST") or AUTHORITY
    if problem := address_problem(authority):
        raise SourceError(f"the authority is {problem}")
    answer = ask_json(
        f"{authority.rstrip('/')}/{given['tenant']}/oauth2/v2.0/token",
        form={
            "grant_type": "client_credentials",
            "client_id": given["client_id"],
            "scope": spec.get("scope") or SCOPE,
            "client_assertion_type": ASSERTION,
            "client_assertion": usable(read(given["token_file"])),
        },
        ca=spec.get("ca"),
    )
    return token(answer, now)
