"""What an MCP call may use: on the path, and on the provider's side of a model call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from penstock.exchange import Caller, Exchange, McpCall
from penstock.mcp import provider_servers
from penstock.mcp.pins import changed_fields
from penstock.policy.batch import SENT_ALONE
from penstock.policy.call import Call
from penstock.policy.policy import Rule
from penstock.policy.rules.tools import Thing, Tools, for_another, server_url
from penstock.policy.state import State
from penstock.wire.jsonrpc.shape import CLIENT_META, VERSION_META
from penstock.wire.loose import as_dict, as_list, as_text

CALL = "tools/call"
# Members of a tool call that are bound by themselves or say nothing to a server's tool.
_CALLED = frozenset(("name", "arguments", "_meta"))
_VOCABULARY = frozenset(
    (
        *(VERSION_META, CLIENT_META, "io.modelcontextprotocol/clientCapabilities"),
        *("io.modelcontextprotocol/logLevel", "progressToken"),
        *("traceparent", "tracestate", "baggage"),
    )
)
# Names come from callers and servers; a longer one is not repeated whole.
NAME_CHARACTERS_MAX = 80
# Which feature a method belongs to, by its beginning; what is not here is always allowed.
FEATURE_OF = {
    "sampling/": "sampling",
    "elicitation/": "elicitation",
    "roots/": "roots",
    "completion/": "completion",
    "logging/": "logging",
    "tasks/": "tasks",
    "subscriptions/": "subscriptions",
    "resources/subscribe": "subscriptions",
}


class Denial(NamedTuple):
    """A rule that refuses, and why. ``hidden``: as if the thing did not exist."""

    rule: Rule[Tools]
    why: str
    hidden: bool = False
    ticket: str = ""  # a person may allow it under this ticket


def person(caller: Caller) -> str:
    """Who may go on with what was begun: the same pod or process, for the same user."""
    return json.dumps([asker(caller), caller.user])


def asker(caller: Caller) -> str:
    """Who talks to both models and servers: a pod, or one process where there are no pods.

    Without the credential: a model and a server are called with different ones.
    """
    workload, process = caller.workload, caller.process
    pid = None if workload.pod or process is None else process.pid
    return json.dumps([workload.namespace, workload.pod or workload.name, pid])


def tools_called(exchange: Exchange) -> list[str]:
    """Names of the tools a request calls; several in a batch."""
    document = exchange.document
    messages = document if isinstance(document, list) else [document]
    names = []
    for message in messages:
        if isinstance(message, dict) and message.get("method") == CALL:
            parameters = message.get("params")
            name = parameters.get("name") if isinstance(parameters, dict) else None
            names.append(name if isinstance(name, str) else "")
    return names


def feature_of(method: str) -> str | None:
    """The feature a method belongs to, None for the protocol's own."""
    return next((name for head, name in FEATURE_OF.items() if method.startswith(head)), None)


def tool_denials(
    rules: Sequence[Rule[Tools]],
    call: Call,
    state: State,
    policy_hash: str,
    sends_own_token: bool = True,
) -> list[Denial]:
    """Every rule that refuses the call, and why.

    ``sends_own_token``: the caller's token reaches the server, and not one that takes its place.

    Rules that only watch are judged together with those that act, but never instead of them:
    what they would grant or refuse does not change what the acting ones say.
    """

    def denials(of: Sequence[Rule[Tools]]) -> list[Denial]:
        if call.exchange.mcp is None:
            return _provider_side_denials(of, call.exchange)
        found = list(_denials(of, call, call.exchange.mcp, state, policy_hash))
        if sends_own_token:
            speaking = rules_about(of, server_url(call))
            wrong = (rule for rule in speaking if for_another(rule.act, call))
            found += [
                Denial(rule, "the token sent along is for another audience") for rule in wrong
            ]
        return found

    enforced = [rule for rule in rules if rule.enforced]
    found = denials(enforced)
    if not found and len(enforced) < len(rules):
        found = [denial for denial in denials(rules) if not denial.rule.enforced]
    return found


def _denials(
    rules: Sequence[Rule[Tools]], call: Call, mcp: McpCall, state: State, policy_hash: str
) -> Iterator[Denial]:
    url = server_url(call)
    about = rules_about(rules, url)
    if not about:
        return
    names = tools_called(call.exchange)
    used: list[tuple[Thing, str]] = [("tool", name) for name in names]
    if task_tool := _task_tool(call.exchange, state, url):
        used.append(("tool", task_tool))
    if mcp.resource_uri is not None:
        used.append(("resource", mcp.resource_uri))
    used += [("resource", uri) for uri in _listened_to(call.exchange)]
    if mcp.prompt is not None:
        used.append(("prompt", mcp.prompt))
    used += _completed(call.exchange.document)
    for thing, name in used:
        denial = refused(about, thing, name)
        if denial is None and thing == "tool":
            denial = not_as_pinned(about, url, name, state)
        if denial is not None:
            yield denial
    yield from (d for method in mcp.methods if (d := feature_refused(about, method)))
    if denial := _state_of_another(about, call, state, url):
        yield denial
    for rule in about:
        if names and (denial := _call_refused(rule, call, mcp, state, policy_hash)):
            yield denial


def _call_refused(
    rule: Rule[Tools], call: Call, mcp: McpCall, state: State, policy_hash: str
) -> Denial | None:
    """What a rule asks of a tool call besides the tool's name."""
    act, tool = rule.act, mcp.tool or ""
    if act.max_argument_bytes is not None:
        size = len(json.dumps(mcp.arguments, ensure_ascii=False, separators=(",", ":")).encode())
        if size > act.max_argument_bytes:
            return Denial(rule, f"the arguments are larger than {act.max_argument_bytes} bytes")
    alone = act.require is not None or (act.approve is not None and act.approve.match(tool))
    in_batch = mcp.batch and isinstance(call.exchange.document, dict)
    if in_batch and alone:
        return Denial(rule, SENT_ALONE)
    if act.require == "model_request" and not state.memory.causes.wish(asker(call.caller), tool):
        return Denial(rule, "no model asked for this call")
    if act.approve is not None and act.approve.match(tool):
        ticket = ticket_of(call, mcp, state, policy_hash)
        if not state.approved(ticket):
            return Denial(
                rule, f"the call needs a person's approval, ticket {ticket}", False, ticket
            )
    return None


def asks_a_person(rules: Sequence[Rule[Tools]], call: Call) -> Rule[Tools] | None:
    """The first acting rule that lets the call through only with a person's yes."""
    mcp = call.exchange.mcp
    tool = mcp.tool if mcp is not None else None
    if tool is None:
        return None
    asking = (rule for rule in rules_about(rules, server_url(call)) if rule.enforced)
    return next(
        (r for r in asking if r.act.approve is not None and r.act.approve.match(tool)), None
    )


def ticket_of(call: Call, mcp: McpCall, state: State, policy_hash: str) -> str:
    """The one call an approval is for: caller, server, tool, arguments and policy together.

    Keyed, so that nobody can try out what the arguments might have been.
    """
    bound = [state.caller_key, server_url(call), mcp.tool, mcp.arguments, policy_hash]
    bound.append(besides(call.exchange.document))
    return state.digest("approval", json.dumps(bound, sort_keys=True))


def besides(document: Any) -> dict[str, Any]:
    """What a tool call says besides its arguments and the protocol's own: a server may act on it.

    Answers to its questions, its own state, members of ``_meta`` that are no vocabulary.
    """
    params = as_dict(as_dict(document).get("params"))
    said = {name: value for name, value in params.items() if name not in _CALLED}
    meta = as_dict(params.get("_meta"))
    return said | {f"_meta.{n}": value for n, value in meta.items() if n not in _VOCABULARY}


def _completed(document: Any) -> list[tuple[Thing, str]]:
    """The prompt or resource that completions are asked for: a use of it too."""
    message = as_dict(document)
    if message.get("method") != "completion/complete":
        return []
    reference = as_dict(as_dict(message.get("params")).get("ref"))
    name, uri = as_text(reference.get("name")), as_text(reference.get("uri"))
    if reference.get("type") == "ref/prompt" and name is not None:
        return [("prompt", name)]
    if reference.get("type") == "ref/resource" and uri is not None and "{" not in uri:
        return [("resource", uri)]  # a template's completions are names: what is read is checked
    return []


def _state_of_another(
    about: Sequence[Rule[Tools]], call: Call, state: State, url: str
) -> Denial | None:
    """A server's opaque state, presented by somebody else or with another call than it is for."""
    message = as_dict(call.exchange.document)
    given = as_text(as_dict(message.get("params")).get("requestState"))
    known = None if given is None else state.memory.asked(url, state_digest(state, given))
    if known is None or known == state_owner(call):
        return None
    return Denial(about[0], "the request state was given for another call")


def state_digest(state: State, given: str) -> str:
    """A request state as it is remembered."""
    return state.digest("request_state", given)


def state_owner(call: Call) -> str:
    """Whose call, and of what, a request state belongs to."""
    mcp = call.exchange.mcp
    named = [] if mcp is None else [mcp.methods, mcp.tool, mcp.resource_uri, mcp.prompt]
    return json.dumps([person(call.caller), named])


def _task_tool(exchange: Exchange, state: State, url: str) -> str | None:
    """The tool whose deferred result a request asks for."""
    document = exchange.document
    if not isinstance(document, dict) or document.get("method") not in (
        "tasks/get",
        "tasks/result",
        "tasks/update",
    ):
        return None
    parameters = document.get("params")
    task = parameters.get("taskId") if isinstance(parameters, dict) else None
    return state.memory.tool_of_task(url, task) if isinstance(task, str) else None


def _listened_to(exchange: Exchange) -> list[str]:
    """The resources a stream of the newer era asks to be told of."""
    document = exchange.document
    if not isinstance(document, dict) or document.get("method") != "subscriptions/listen":
        return []
    wanted = as_dict(as_dict(document.get("params")).get("notifications"))
    return [uri for uri in as_list(wanted.get("resourceSubscriptions")) if isinstance(uri, str)]


def rules_about(rules: Sequence[Rule[Tools]], url: str | None) -> list[Rule[Tools]]:
    """The rules that speak of the server at ``url``."""
    return [rule for rule in rules if rule.act.speaks_of(url)]


def refused(about: Sequence[Rule[Tools]], thing: Thing, name: str) -> Denial | None:
    """The rule that refuses a tool, resource or prompt; None when it may be used.

    ``about`` are the rules that speak of the server. A deny list wins; where there is a
    list of what may be used, what no list names is refused.
    """
    for rule in about:
        if rule.act.denies(thing, name):
            return Denial(rule, f"the {thing} is denied")
    listing = [rule for rule in about if rule.act.listing(thing) is not None]
    if listing and not any(rule.act.admits(thing, name) for rule in listing):
        # One that only watches is named first: with the acting ones alone the tool was granted.
        listing.sort(key=lambda rule: rule.enforced)
        return Denial(listing[0], f"the {thing} is not on the list of what is allowed")
    return None


def not_as_pinned(about: Sequence[Rule[Tools]], url: str, tool: str, state: State) -> Denial | None:
    """The first rule whose lock file knows the tool otherwise, unless it only alerts."""
    for rule in about:
        if rule.act.pins is None or rule.act.on_change == "alert":
            continue
        if why := changed(rule, url, tool, state):
            return Denial(rule, why, rule.act.on_change == "hide")
    return None


def changed(rule: Rule[Tools], url: str, tool: str, state: State) -> str | None:
    """What is not as pinned, by the names of its fields; None when all is."""
    assert rule.act.pins is not None  # asked for rules with a lock file
    pin = rule.act.pins.pin(url, tool)
    if pin is not None and state.memory.shown_hash(url, tool) == pin.hash:
        return None
    fields = changed_fields(pin, state.memory.shown(url, tool))
    if fields is None:
        return None
    named = tool[:NAME_CHARACTERS_MAX]
    if fields == ("not pinned",):
        return f"the tool '{named}' is not in the lock file"
    return f"the tool '{named}' changed since it was pinned: {', '.join(fields)}"


def feature_refused(about: Sequence[Rule[Tools]], method: str) -> Denial | None:
    """The rule that does not let the two sides use this method's feature."""
    feature = feature_of(method)
    if feature is None:
        return None
    limiting = [rule for rule in about if rule.act.features is not None]
    if not limiting or any(feature in (rule.act.features or ()) for rule in limiting):
        return None
    return Denial(limiting[0], f"{feature} is not on the list of what is allowed")


def _provider_side_denials(rules: Sequence[Rule[Tools]], exchange: Exchange) -> list[Denial]:
    """A model call that hands the provider MCP servers must grant only tools the rules allow."""
    denials = []
    for server in provider_servers(exchange) if rules else ():
        about = rules_about(rules, server.url)
        if not about:
            continue
        if server.allowed is None:
            if refused_somewhere(about):
                why = "the call lets the provider use every tool of a governed MCP server"
                denials.append(Denial(about[0], why))
            continue
        denials += [d for name in server.allowed if (d := refused(about, "tool", name))]
        unseen = next((rule for rule in about if out_of_sight(rule.act)), None)
        if unseen is not None:
            why = "the provider would call the server itself, where the rule cannot be kept"
            denials.append(Denial(unseen, why))
    return denials


def out_of_sight(act: Tools) -> bool:
    """True for what can only be kept where the call itself is seen."""
    beyond = act.pins if act.on_change != "alert" else None
    return any(
        one is not None
        for one in (
            *(beyond, act.approve, act.require, act.max_argument_bytes, act.max_result_bytes),
            *(act.taint, act.confine, act.questions),
        )
    )


def refused_somewhere(about: Sequence[Rule[Tools]]) -> bool:
    """False when the rules together let every tool through."""
    listing = [rule.act.allow for rule in about if rule.act.allow is not None]
    everything = not listing or any("*" in allow.patterns for allow in listing)
    if any(out_of_sight(rule.act) for rule in about):
        return True
    return not everything or any(rule.act.deny is not None for rule in about)
