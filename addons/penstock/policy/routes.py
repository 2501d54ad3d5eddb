"""The route's part of a decision: which rule speaks, and which targets may serve the call.

A target is judged as a destination like any other: what a rule denies there, or no allow rule
admits, is no target. A call that leaves the place it was meant for is not measured by the
allow list of that place, which it never reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b

from penstock.destinations import by_shape, identify
from penstock.exchange import Destination, matches_type
from penstock.policy.call import Call, kind_of
from penstock.policy.credentials import choose_credential
from penstock.policy.judge import Judge
from penstock.policy.policy import Rule
from penstock.policy.rules.route import Route
from penstock.route.balance import order
from penstock.route.form import aim_of, format_into, speaks
from penstock.route.homes import home_of_call, home_of_target
from penstock.route.plan import Choice, Plan, name_of
from penstock.route.target import Target
from penstock.route.translate.errors import Home
from penstock.route.translate.request import APIS, translate

Place = tuple[Destination, str]

# The workload's label that says where it runs (a well-known one of Kubernetes).
REGION_LABEL = "topology.kubernetes.io/region"
# Text that tells conversations apart; a head as long as this repeats in no other one.
HEAD_CHARACTERS = 4096
# What models write at most; a byte of input is a token at most.
OUTPUT_TOKENS_MAX = 128_000


def choose_route(judge: Judge) -> None:
    """Put the plan into the decision, or refuse the call no target may serve."""
    call = judge.call
    if kind_of(call) != "model":
        return
    speaking = [rule for rule in judge.applying(judge.policy.routes) if applies(rule, judge)]
    for rule in speaking:
        if not rule.enforced:
            judge.note(rule.verb, rule.id, "allow", f"would go to {places(rule.act.to)}", False)
    enforced = sorted((rule for rule in speaking if rule.enforced), key=precedence)
    if not enforced:
        return
    rule, targets = enforced[0], enforced[0].act.to
    if rule.act.when_found:
        for other in enforced[1:]:
            if other.act.when_found:
                targets = other.act.keeps([one.url for one in targets])
        if not targets:
            names = " and ".join(f"'{one.id}'" for one in enforced if one.act.when_found)
            judge.deny(rule, f"{names} send it to different places, so it can go nowhere")
            return
    plan_for(judge, rule, targets)


def applies(rule: Rule[Route], judge: Judge) -> bool:
    """True when the rule is about this call, and what it asks for is found in it."""
    act = rule.act
    if not act.speaks_of(judge.call):
        return False
    if not act.when_found:
        return True
    try:
        return any(
            matches_type(act.when_found, finding.type)
            for leaf in judge.call.exchange.leaves
            if leaf.text and not leaf.blob
            for finding in judge.state.findings(leaf.text, leaf.zone)
        )
    except Exception as error:  # noqa: BLE001 - a detector that fails is the rule's on_error
        judge.failed(rule, error)
        return False


def precedence(rule: Rule[Route]) -> tuple[bool, int, str]:
    """What was found counts first, then what says most about the call, then the name."""
    stated = rule.act.stated + (rule.when is not None)
    return not rule.act.when_found, -stated, rule.id


def plan_for(judge: Judge, rule: Rule[Route], targets: Sequence[Target]) -> None:
    """Order the targets that may serve the call; refuse it where there is none."""
    act, call = rule.act, judge.call
    choices, refusals = [], []
    for target in targets:
        choice = choice_of(judge, target)
        found = judged(judge, choice)
        if isinstance(found, Choice):
            choices.append(found)
        else:
            refusals.append(f"{choice.name}: {found}")
    if not choices:
        judge.deny(rule, f"no target can serve it ({'; '.join(refusals[:3])})")
        return
    ordered = order(
        choices,
        judge.state.board,
        judge.now,
        balance=act.balance,
        key=conversation(judge) if act.sticky else call.id,
        region=call.caller.workload.labels.get(REGION_LABEL),
        tokens=needed(judge, choices),
    )
    # What is stored with a provider (files, earlier answers) is found nowhere else.
    attempts = 1 if call.exchange.references else act.attempts
    asked = tuple(ordered[:attempts])
    judge.decision.route = Plan(rule.id, asked, act.attempt_seconds, act.give_up_seconds)
    judge.decision.credential = None  # each choice has its own
    judge.leaves = judge.keyless = not any(one.target.is_original for one in asked)
    judge.note(rule.verb, rule.id, "allow", f"goes to {ordered[0].name}", True)


def choice_of(judge: Judge, target: Target) -> Choice:
    """The target as a destination of this call."""
    call = judge.call
    model = target.model_for(call.exchange.model)
    if target.is_original:
        place = call.destination
        return Choice(target, place, model, name_of(place, ""), judge.decision.credential)
    api = call.exchange.api
    place, name = place_of(target.host, target.port, target.base, target.provider, api)
    return Choice(target, place, model, name)


@lru_cache(maxsize=4096)  # the policy's targets, each with the families that are called
def place_of(host: str, port: int, base: str, provider: str | None, api: str) -> Place:
    """A target as the catalogue knows it, or as the policy's author says; and its name."""
    place = identify(host, port, base or "/")
    if provider is not None:
        place = replace(place, provider=provider, category="llm_api", known=True, source="policy")
    elif not place.known:
        place = by_shape(place, api)
    return place, name_of(place, base)


def judged(judge: Judge, choice: Choice) -> Choice | str:
    """The target with the key it gets, or why it cannot serve this call."""
    target, call = choice.target, judge.call
    if target.is_original and choice.asked_model == call.exchange.model:
        return choice  # judged as what it is, by decide itself
    provider, api = choice.destination.provider, call.exchange.api
    home = None if target.is_original else other_home(call, choice)
    if home is not None:
        choice = replace(choice, home=home)
    elif not target.is_original and not speaks(
        provider, api, target.format, translates=target.translate
    ):
        translated = into_its_format(call, choice)
        if isinstance(translated, str):
            return translated
        choice = translated
    apart = judge.apart(moved(call, choice))
    if judge.policy.credentials:
        choose_credential(apart, judge.policy.credentials, apart.call)
    elsewhere = choice.destination.host != call.destination.host
    keyless = target.key == "none" or (elsewhere and target.key != "caller")
    apart.destinations(pins=not keyless)
    if apart.decision.verdict == "deny":
        return next(r.message for r in apart.decision.reasons if r.verdict == "deny" and r.enforced)
    use = apart.decision.credential
    return choice if use is None else replace(choice, use=use)


def other_home(call: Call, choice: Choice) -> Home | None:
    """The target's home, where it serves Anthropic's messages and they were sent to another."""
    exchange = call.exchange
    home = home_of_call(exchange.api, call.path, exchange.document)
    if home is None:
        return None
    there = home_of_target(choice.destination.provider, choice.target.format)
    return there if there != home or there == "vertex" else None


def into_its_format(call: Call, choice: Choice) -> Choice | str:
    """The choice for the translated call, or why the call cannot be said in its format."""
    target, api = choice.target, call.exchange.api
    into = format_into(choice.destination.provider, target.format)
    if not target.translate or into is None:
        return f"it does not speak {api}, and the target has no 'translate: yes'"
    place, name = place_of(target.host, target.port, target.base, target.provider, APIS[into])
    home = home_of_target(choice.destination.provider, target.format)
    if into != "anthropic" or home == "anthropic":
        home = None
    choice = replace(choice, destination=place, name=name, into=into, home=home)
    translated = translate(api, call.exchange.document, aim_of(choice))
    return f"for {into}: {translated}" if isinstance(translated, str) else choice


def moved(call: Call, choice: Choice) -> Call:
    """The call as it is at its target."""
    scheme = call.scheme if choice.target.is_original else choice.target.scheme
    exchange = call.exchange
    if choice.asked_model != exchange.model:
        exchange = replace(exchange, model=choice.asked_model)
    return Call(
        exchange, call.caller, choice.destination, call.id,
        call.body_bytes, call.method, scheme, call.path,
    )  # fmt: skip


def conversation(judge: Judge) -> str:
    """A hash of the conversation's head: the same on each of its turns, and in every proxy.

    It is never written down, so it needs no key, and the proxies of a service need not share one.
    """
    head: list[str] = []
    for message in judge.call.exchange.messages:
        head.append(message.text()[:HEAD_CHARACTERS])
        if message.role == "user":
            break
    said = "\x1f".join(head)
    if not said:
        return judge.call.id
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def needed(judge: Judge, choices: Sequence[Choice]) -> int:
    """Tokens the call is expected to need; 0 where every target has more than it can need."""
    board, most = judge.state.board, judge.call.body_bytes + OUTPUT_TOKENS_MAX
    if not board.rooms or not any(board.near(c.name, c.model, judge.now, most) for c in choices):
        return 0
    estimate = judge.state.estimate(judge.call)
    return estimate.input_tokens + estimate.output_tokens


def places(targets: Sequence[Target]) -> str:
    """Hosts, for messages."""
    return ", ".join(one.host or one.url for one in targets[:3])


def first_place(call: Call, plan: Plan) -> Call:
    """The call at its first target: what limits are counted for."""
    return moved(call, plan.choices[0])
