"""Keys of credential rules for servers that are started here: in variables of their environment.

The servers file says which variable takes which rule's key (``keys: {API_TOKEN: rule-id}``); the
rule has to name the server among its ``hosts``, so that who writes the file cannot take a key the
policy did not mean for it. A key that changes ends the process when nothing runs on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.exchange import Caller
from penstock.gateway.calls import Calls, Server
from penstock.gateway.servers.file import ServerEntry
from penstock.policy.policy import Rule
from penstock.policy.rules.credential import Credential
from penstock.proxy.governance import Governance
from penstock.route.credentials.fetched import SourceError


def problems_of(name: str, entry: ServerEntry, governance: Governance) -> Iterator[str]:
    """What of a server's keys cannot be had by the policy, and which rule's key nobody takes."""
    if entry.command is None:
        return
    keys = entry.keys
    rules = {rule.id: rule for rule in governance.policy.credentials}
    for wanted in keys.values():
        rule = rules.get(wanted)
        if rule is None:
            yield f"the policy has no credential rule '{wanted}'"
        elif not serves(rule, name, governance):
            yield f"the rule '{wanted}' does not name {name} among its hosts"
        elif rule.when is not None:
            yield f"the rule '{wanted}' has a condition, and a process is started for every caller"
        elif rule.act.spec.of_caller:
            yield f"the rule '{wanted}' gives keys of callers, and a process is for all of them"
        elif rule.act.spec.form is not None:
            yield f"the rule '{wanted}' says how a request carries its key ('as'): leave that out"
    for rule in governance.policy.credentials:
        named = rule.act.target.hosts is not None
        if named and serves(rule, name, governance) and rule.id not in keys.values():
            yield (
                f"the rule '{rule.id}' gives {name} a key: say which variable takes it, "
                f"keys: {{NAME: {rule.id}}} or --key NAME={rule.id}"
            )


def serves(rule: Rule[Credential], name: str, governance: Governance) -> bool:
    """True when the rule's key is for the server of this name."""
    calls = Calls(governance, Server.at(f"stdio://{name}"))
    live = calls.read(b'{"jsonrpc":"2.0","id":0,"method":"ping"}', Caller(), {})
    return rule.act.serves(live.call)


async def environment_of(keys: Mapping[str, str], governance: Governance) -> dict[str, str]:
    """The variables with their keys. SourceError when one is not to be had."""
    rules = {rule.id: rule for rule in governance.policy.credentials}
    found = {}
    for variable, wanted in keys.items():
        rule = rules.get(wanted)
        if rule is None:
            raise SourceError(f"the policy has no credential rule '{wanted}' any more")
        if not rule.enforced:
            continue
        fetched = await governance.credentials.obtain(rule.act.spec)
        if not isinstance(fetched.value, str):
            raise SourceError(f"the rule '{wanted}' gives keys that sign requests")
        found[variable] = fetched.value
    return found
