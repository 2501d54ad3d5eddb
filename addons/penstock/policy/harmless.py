"""Which findings are no news here: the policy's ``ignore``, and links to hosts it trusts."""

from __future__ import annotations

from penstock.detect.leakage.links import LINK_TYPES, hosts_of
from penstock.exchange import Finding
from penstock.policy.content import Ignored
from penstock.policy.globs import Globs
from penstock.policy.policy import Policy
from penstock.policy.state import State


def ignored(policy: Policy, state: State, now: float) -> Ignored | None:
    """What the policy says is harmless, as a question about one finding; None without any."""
    hosts = policy.trusted_hosts
    if not policy.ignores and hosts is None:
        return None

    def covered(finding: Finding, value: str) -> bool:
        if hosts is not None and finding.type in LINK_TYPES and leads_to(hosts, value):
            return True
        if not policy.ignores:
            return False
        digest = state.digest(finding.type, value)
        return any(entry.covers(finding, value, digest, now) for entry in policy.ignores)

    return covered


def leads_to(hosts: Globs, value: str) -> bool:
    """True when all that a found construct would ask is among these hosts."""
    asked = hosts_of(value)
    return bool(asked) and all(
        hosts.match(host) or hosts.match(host.partition(":")[0]) for host in asked
    )
