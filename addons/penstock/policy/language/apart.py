"""Rules that several processes on one port cannot keep: each would know a part of what happened.

Such a policy is refused before anything is served, and a changed policy that brings such a rule
changes nothing.
"""

from __future__ import annotations

from penstock.policy.language.problem import Problem
from penstock.policy.policy import Policy
from penstock.policy.rules.limit import Limit
from penstock.policy.rules.tools import Tools

LIMITS = (
    "each worker would count this limit apart: share limits through a store (--store), let each "
    "worker have the whole limit (--limits-per-worker), or run one worker"
)
REQUIRES = "a worker knows only what models asked for through itself: run one worker"


def kept_apart(policy: Policy, *, limits_shared: bool) -> list[Problem]:
    """The rules that need one process; limits do not where a store has them."""
    found = []
    for rule in policy.rules:
        why = None
        if isinstance(rule.act, Limit) and not limits_shared and policy.store is None:
            why = LIMITS
        elif isinstance(rule.act, Tools) and rule.act.require is not None:
            why = REQUIRES
        if why is not None:
            found.append(Problem(rule.file, rule.line, rule.id, why))
    return found
