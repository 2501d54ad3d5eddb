"""The verbs of the policy language, one file each. This list is all there is."""

from __future__ import annotations

from penstock.policy.rules import allow, canary, credential, deny, limit, redact, route, tools
from penstock.policy.rules.kind import Kind

KINDS: tuple[Kind, ...] = (
    allow.KIND,
    deny.KIND,
    redact.KIND,
    canary.KIND,
    limit.KIND,
    tools.KIND,
    credential.KIND,
    route.KIND,
)
