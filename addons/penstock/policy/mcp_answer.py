"""What of an MCP server's answers a caller may get: lists, results, the server's own requests.

Made once for a call; asked for each message of its answer, plain or streamed. Content is
``answer.py``'s; this looks at names, sizes and methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from penstock.mcp.answers import Verdict
from penstock.mcp.definitions import Digests
from penstock.policy.call import Call
from penstock.policy.confine import remember
from penstock.policy.decision import Reason
from penstock.policy.globs import Globs
from penstock.policy.grants import (
    Denial,
    asker,
    changed,
    feature_refused,
    not_as_pinned,
    rules_about,
    state_digest,
    state_owner,
)
from penstock.policy.judge import Judge
from penstock.policy.policy import Policy, Rule
from penstock.policy.questions import asks_for_secret, sends_elsewhere
from penstock.policy.refusals import policy_refusal
from penstock.policy.rules.tools import Thing, Tools, server_url
from penstock.policy.state import State
from penstock.wire.json_leaves import Reading
from penstock.wire.jsonrpc.calls import MessageLeaves
from penstock.wire.loose import as_dict, as_text

Tell = Callable[[Reason], None]
# Sentences kept for the Record of one answer; a changed server says the same of many tools.
NOTES_MAX = 20
LOOK_ALIKE = "penstock.look-alike"
# What is listed under which member of a result, and what names it.
MEMBERS: Mapping[str, tuple[Thing, str]] = {
    "tools": ("tool", "name"),
    "resources": ("resource", "uri"),
    "resourceTemplates": ("resource", "uriTemplate"),
    "prompts": ("prompt", "name"),
}


# What a condition may read that is the same for the next call of the same caller.
OF_CALLER = frozenset(("caller", "destination"))


def holds_for_caller(rule: Rule[Tools], judge: Judge) -> bool:
    """True for a rule whose condition looks at nothing but the caller, and is true."""
    return rule.when is not None and rule.when.roots <= OF_CALLER and bool(judge.holds(rule))


class McpAnswer:
    """``mcp.answers.Rules`` for one call. ``tell`` takes the reasons to be recorded."""

    def __init__(self, policy: Policy, call: Call, state: State, now: float, tell: Tell) -> None:
        judge = Judge(policy, call, state, now)
        self.call, self.state, self._tell = call, state, tell
        self.url = server_url(call)
        self.digest: Digests | None = None  # of the document that is being judged
        about = [r for r in rules_about(policy.tools, self.url) if r.enforced]
        # What hides: rules that hold whatever this caller calls next, not those that look at the
        # call. What such a rule may grant stays in the lists; calls are checked all the same.
        self.acting = [rule for rule in about if rule.when is None or holds_for_caller(rule, judge)]
        later = [r for r in about if r.when is not None and not r.when.roots <= OF_CALLER]
        # As ``refused`` has it, made ready for lists of hundreds.
        self._denying = [rule.act.deny for rule in self.acting if rule.act.deny is not None]
        self._listing: dict[Thing, list[Globs]] = {
            thing: [g for rule in self.acting if (g := rule.act.listing(thing)) is not None]
            for thing in get_args(Thing)
        }
        self._may_grant: dict[Thing, list[Globs]] = {
            thing: [g for rule in later if (g := rule.act.listing(thing)) is not None]
            for thing in get_args(Thing)
        }
        self._pinning = any(rule.act.pins is not None for rule in self.acting)
        self.applying = rules_about(judge.applying(policy.tools), self.url)
        sizes = [
            r.act.max_result_bytes for r in self.applying if r.act.max_result_bytes is not None
        ]
        self.bytes_max = min(sizes) if sizes else None
        self.tainting = [rule for rule in self.applying if rule.act.taint is not None]
        self.confining = [rule for rule in self.applying if rule.act.confine is not None]
        if self.tainting or self.confining:
            self.bytes_max = 0  # every message is looked at

    def changes(self) -> bool:
        """False when nothing in the answer can be refused or left out."""
        return bool(self.acting) or any(rule.enforced for rule in self.applying)

    def judge(self, message: dict[str, Any], size: int) -> Verdict | None:
        """A refusal in place of one message of the server; None where it may go on."""
        for method, params in requests_of(message):
            denial = feature_refused(self._enforced(), method) or self._question(method, params)
            if denial is not None:
                return self._refuse(denial, ends="method" in message)
        sized = self._sized(size) if "result" in message or "error" in message else None
        if sized is None or sized.shorten_to is not None:
            self._remember(as_dict(message.get("result")))
            self._mark(message)
        return sized

    def _question(self, method: str, params: dict[str, Any]) -> Denial | None:
        """The rule that does not let the server ask this of the person."""
        if method != "elicitation/create":
            return None
        careful = [rule for rule in self.applying if rule.act.questions is not None]
        if not careful:
            return None
        why = ""
        if asks_for_secret(params):
            why = "the server asks the person for a secret"
        elif sends_elsewhere(params, self.call.destination.host):
            why = "the server sends the person to another host"
        for rule in careful if why else ():
            if rule.enforced:
                return Denial(rule, why)
            self._note(Denial(rule, why))
        return None

    def _mark(self, message: dict[str, Any]) -> None:
        """Note what came to the caller: content that may be hostile, values that must stay."""
        if not self.tainting and not self.confining:
            return
        if "result" not in message and not requests_of(message):
            return
        method, tool = self._asked(message)
        if method.endswith("/list"):
            return  # definitions: pins and detectors look after those
        for rule in self.tainting:
            taint = rule.act.taint
            # What belongs to no call known here may be any tool's.
            if taint is not None and (tool is None or taint.match(tool)):
                self.state.memory.taints.taint(asker(self.call.caller))
        if self.confining:
            found = MessageLeaves(b"", Reading(message))
            remember(self.confining, self.call, found, self.state)

    def _asked(self, message: dict[str, Any]) -> tuple[str, str | None]:
        """The method a message answers, and the tool: None where that is not known."""
        mcp = self.call.exchange.mcp
        if mcp is None or not mcp.ids:
            return "", None
        if "method" in message:
            return "", mcp.tool
        ident = message.get("id")
        for asked, method, name in zip(mcp.ids, mcp.methods, mcp.names, strict=False):
            if asked == ident and type(asked) is type(ident):
                late = method.startswith("tasks/")
                return method, None if late else name if name is not None else ""
        return "", None

    def _sized(self, size: int) -> Verdict | None:
        """What becomes of a result of this size: refusing comes before shortening."""
        smallest: tuple[int, Denial] | None = None
        for rule in self.applying:
            limit = rule.act.max_result_bytes
            if limit is None or size <= limit:
                continue
            denial = Denial(rule, f"the result is larger than {limit} bytes")
            if not rule.enforced:
                self._note(denial)
            elif rule.act.oversized == "refuse":
                return self._refuse(denial)
            elif smallest is None or limit < smallest[0]:
                smallest = limit, denial
        if smallest is None:
            return None
        limit, denial = smallest
        self.tell(Reason(denial.rule.id, "tools", "edit", denial.why))
        refusal = policy_refusal(denial.rule, denial.why, self.call)
        return Verdict(refusal, shorten_to=limit)

    def hidden(self, member: str, element: Any) -> bool:
        """True for an element of a list that may not be shown. One without a name cannot be."""
        thing, key = MEMBERS[member]
        name = element.get(key) if type(element) is dict else None
        if type(name) is not str:
            return True
        if member == "resourceTemplates":
            return not self._reachable(name)
        if thing == "tool" and _matches(self._denying, name):
            return True
        listing = self._listing[thing]
        if listing and not _matches(listing, name) and not _matches(self._may_grant[thing], name):
            return True
        if thing != "tool" or not self._pinning:
            return False
        denial = not_as_pinned(self.acting, self.url, name, self.state)
        if denial is not None:
            self._note(denial)
        return denial is not None

    def _reachable(self, template: str) -> bool:
        """True when some URI of the template may be read, as far as their beginnings tell."""
        listing = [rule.act.resources for rule in self.acting if rule.act.resources is not None]
        head = template.partition("{")[0]
        return not listing or any(
            start.startswith(head) or head.startswith(start)
            for globs in listing
            for start in (_fixed(pattern) for pattern in globs.patterns)
        )

    def _remember(self, result: dict[str, Any]) -> None:
        """Tools as shown, and tasks that were started; alarms and alerts are told."""
        listed = result.get("tools")
        if isinstance(listed, list):
            for alarm in self.state.memory.see(self.url, listed, self.digest):
                self.tell(Reason(LOOK_ALIKE, "tools", "allow", alarm, enforced=False))
            self._alert(listed)
        mcp = self.call.exchange.mcp
        task = as_text(as_dict(result.get("task")).get("taskId")) or as_text(result.get("taskId"))
        if task and mcp is not None and mcp.tool:
            self.state.memory.start_task(self.url, task, mcp.tool)
        request_state = as_text(result.get("requestState"))
        if request_state is not None:
            known = state_digest(self.state, request_state)
            self.state.memory.ask_back(self.url, known, state_owner(self.call))

    def _alert(self, listed: list[Any]) -> None:
        alerting = [r for r in self.applying if r.act.pins is not None]
        for rule in alerting:
            if rule.enforced and rule.act.on_change != "alert":
                continue  # told where the tool is hidden
            for element in listed:
                name = as_text(as_dict(element).get("name")) or ""
                if why := changed(rule, self.url, name, self.state):
                    self.tell(Reason(rule.id, "tools", "allow", why, rule.enforced))

    def tell(self, reason: Reason) -> None:
        mcp = self.call.exchange.mcp
        if mcp is not None and len(mcp.notes) < NOTES_MAX and reason.message not in mcp.notes:
            mcp.notes.append(reason.message)
        self._tell(reason)

    def _enforced(self) -> list[Rule[Tools]]:
        return [rule for rule in self.applying if rule.enforced]

    def _refuse(self, denial: Denial, ends: bool = False) -> Verdict:
        self._note(denial)
        return Verdict(policy_refusal(denial.rule, denial.why, self.call, denial.hidden), ends)

    def _note(self, denial: Denial) -> None:
        rule = denial.rule
        self.tell(Reason(rule.id, "tools", "deny", denial.why, rule.enforced))


def requests_of(message: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What the server asks of the client: directly, or inside an ``input_required`` result."""
    method = as_text(message.get("method"))
    if method is not None:
        return [(method, as_dict(message.get("params")))] if "id" in message else []
    requests = as_dict(as_dict(message.get("result")).get("inputRequests"))
    asked = [as_dict(one) for one in requests.values()]
    return [
        (name, as_dict(one.get("params"))) for one in asked if (name := as_text(one.get("method")))
    ]


def _matches(lists: list[Globs], name: str) -> bool:
    for globs in lists:  # noqa: SIM110 - asked for each of hundreds: no generator
        if globs.match(name):
            return True
    return False


def _fixed(pattern: str) -> str:
    """The beginning of a glob before its first wildcard."""
    return re.split(r"[*?[]", pattern, maxsplit=1)[0]
