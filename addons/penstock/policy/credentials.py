"""Which real key a call gets in place of its own: at most one rule may say so."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.policy.call import Call
from penstock.policy.decision import Use
from penstock.policy.judge import Judge
from penstock.policy.policy import Rule
from penstock.policy.rules.credential import Credential

USED = "the destination gets the key of this rule"


def choose_credential(judge: Judge, rules: Sequence[Rule[Credential]], call: Call) -> None:
    """Note the rule whose key the call gets; refuse a call that two rules give keys to.

    A call that would send a key in clear to a host no rule names is refused, too.
    """
    serving = [rule for rule in judge.applying(rules) if rule.act.serves(call)]
    acting = [rule for rule in serving if rule.enforced]
    for rule in serving:
        if not rule.act.may_travel(call):
            judge.deny(rule, "the key would be sent without encryption")
        elif rule in acting and len(acting) > 1:
            others = ", ".join(f"'{other.id}'" for other in acting if other is not rule)
            judge.deny(rule, f"another rule gives this call a key, too: {others}")
        else:
            judge.note(rule.verb, rule.id, "allow", USED, rule.enforced)
            if rule.enforced:
                judge.decision.credential = Use(rule.id, rule.act.spec, rule.on_error)
