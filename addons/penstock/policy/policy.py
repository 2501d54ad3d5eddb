"""A policy in memory: typed, compiled, immutable. What the loader makes and decide reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from penstock.caller.identity import CallerCheck
from penstock.destinations import matches
from penstock.detect.calls import CALL_TYPES, CANARY, CONVERSATION, REMEMBERED
from penstock.detect.custom import Custom, custom_probe
from penstock.detect.encoders.named import NamedEncoder
from penstock.detect.encoders.named import probes as encoder_probes
from penstock.detect.leakage.canary import Canaries
from penstock.detect.probe import Probe
from penstock.exchange import Zone, matches_type
from penstock.mcp.approvals import Announce
from penstock.policy.conditions.compile import Condition
from penstock.policy.decision import Mode
from penstock.policy.find import Find
from penstock.policy.globs import Globs
from penstock.policy.language.detectors import Ignore
from penstock.policy.language.problem import Problem
from penstock.policy.rules.allow import Allow
from penstock.policy.rules.canary import Canary
from penstock.policy.rules.credential import Credential
from penstock.policy.rules.deny import Deny
from penstock.policy.rules.limit import Limit
from penstock.policy.rules.redact import Redact
from penstock.policy.rules.route import Route
from penstock.policy.rules.tools import EVERY_SERVER, Tools

MODE_RANK: dict[Mode, int] = {"observe": 0, "shadow": 1, "enforce": 2}
# Judged over a whole answer when it is over, not by each piece of a stream, unless it ends one.
TONE = "toxicity"
OnError = Literal["deny", "allow"]
SecondLooks = Literal["none", "tell", "remember"]
OnStoreError = Literal["deny", "local_share", "allow"]
Act = Allow | Deny | Redact | Limit | Tools | Credential | Route | Canary


@dataclass(slots=True, frozen=True)
class Rule[A: Act]:
    """One rule. ``mode`` is what counts: the narrower of its own and the policy's."""

    id: str
    verb: str
    act: A
    mode: Mode
    stated_mode: Mode | None
    on_error: OnError
    message: str | None
    when: Condition | None
    file: str
    line: int

    @property
    def enforced(self) -> bool:
        """True when the rule acts, and does not only watch."""
        return self.mode == "enforce"


@dataclass(frozen=True)
class Policy:
    """All rules of all files. ``hash`` is over the bytes of the files, comments included."""

    name: str
    mode: Mode
    on_error: OnError
    intercept: Literal["ai", "all"] | tuple[str, ...]
    other_traffic: Literal["tunnel", "deny"]
    unknown_api: Literal["scan", "deny", "pass"]
    stream_usage: Literal["ask", "always", "count"]
    rules: tuple[Rule[Any], ...]
    hash: str
    files: tuple[str, ...] = ()
    callers: CallerCheck | None = None  # how callers prove who they are
    announce: Announce | None = None  # who hears of calls that wait for a person
    store: str | None = field(default=None, repr=False)  # may hold a password
    on_store_error: OnStoreError = "deny"
    second_look: SecondLooks = "none"  # at texts that have left
    detectors: tuple[Custom, ...] = ()
    encoders: tuple[NamedEncoder, ...] = ()
    trusted_hosts: Globs | None = None  # whose links and images carry nothing out
    ignores: tuple[Ignore, ...] = ()
    also_read: tuple[Path, ...] = ()  # files its rules name; their bytes count for the hash too
    warnings: tuple[Problem, ...] = ()

    def with_mode(self, mode: Mode) -> Policy:
        """The same policy run in another mode; a rule's own narrower mode still counts."""
        rules = (replace(rule, mode=narrower(mode, rule.stated_mode)) for rule in self.rules)
        return replace(self, mode=mode, rules=tuple(rules))

    @cached_property
    def allows(self) -> tuple[Rule[Allow], ...]:
        """The allow rules."""
        return tuple(rule for rule in self.rules if isinstance(rule.act, Allow))

    @cached_property
    def pins(self) -> tuple[Rule[Allow], ...]:
        """The allow rules that say which keys may be used."""
        return tuple(rule for rule in self.allows if rule.act.credentials is not None)

    @cached_property
    def denies(self) -> tuple[Rule[Deny], ...]:
        """The deny rules that need no look at the content."""
        return tuple(
            rule for rule in self.rules if isinstance(rule.act, Deny) and rule.act.find is None
        )

    @cached_property
    def content_rules(self) -> tuple[Rule[Any], ...]:
        """The rules that read texts: redact, and deny with find."""
        return tuple(rule for rule in self.rules if find_of(rule) is not None)

    @cached_property
    def limits(self) -> tuple[Rule[Limit], ...]:
        """The limit rules."""
        return tuple(rule for rule in self.rules if isinstance(rule.act, Limit))

    @cached_property
    def tools(self) -> tuple[Rule[Tools], ...]:
        """The tools rules."""
        return tuple(rule for rule in self.rules if isinstance(rule.act, Tools))

    @cached_property
    def confines(self) -> tuple[Rule[Tools], ...]:
        """The tools rules that keep values where they came from."""
        return tuple(rule for rule in self.tools if rule.act.confine is not None)

    @cached_property
    def asks_people(self) -> bool:
        """True when calls may wait for a person's yes."""
        return any(rule.act.approve is not None for rule in self.tools)

    @cached_property
    def credentials(self) -> tuple[Rule[Credential], ...]:
        """The credential rules."""
        return tuple(rule for rule in self.rules if isinstance(rule.act, Credential))

    @cached_property
    def routes(self) -> tuple[Rule[Route], ...]:
        """The route rules."""
        return tuple(rule for rule in self.rules if isinstance(rule.act, Route))

    @cached_property
    def finding_types(self) -> tuple[str, ...]:
        """Every finding type some rule asks for: what the detectors have to look for."""
        wanted = {name for find in self._finds for name in find.types}
        if CONVERSATION in self.call_types:
            wanted |= set(REMEMBERED)
        wanted |= {name for rule in self.confines for name in rule.act.confine or ()}
        return tuple(sorted(wanted.union(*(rule.act.when_found for rule in self.routes))))

    @cached_property
    def call_types(self) -> frozenset[str]:
        """The types that some rule names and that no text alone shows."""
        named = {name for find in self._finds for name in find.types}
        return frozenset(name for name in CALL_TYPES if matches_type(tuple(named), name))

    def own_probes(self, canaries: Canaries) -> tuple[Probe, ...]:
        """The policy's own detectors, and that of the installation's canaries if it is named."""
        named = CANARY in self.call_types
        own = (*self.custom_probes, *((canaries.probe(),) if named else ()))
        return (*own, *encoder_probes(self.encoders, self.zones_of))

    def zones_of(self, types: Sequence[str]) -> frozenset[Zone]:
        """Where rules look for any of these: elsewhere no encoder reads for them."""
        finds = [
            find for find in self._finds if any(matches_type(find.types, name) for name in types)
        ]
        others = [name for rule in self.routes for name in rule.act.when_found]
        others += [name for rule in self.confines for name in rule.act.confine or ()]
        others += REMEMBERED if CONVERSATION in self.call_types else ()
        everywhere = any(matches_type(others, name) for name in types)
        if everywhere or any(find.response for find in finds):
            return frozenset(get_args(Zone))
        return frozenset(zone for zone in get_args(Zone) if any(zone in f.zones for f in finds))

    @cached_property
    def canaries(self) -> tuple[Rule[Canary], ...]:
        """The canary rules."""
        return tuple(rule for rule in self.rules if isinstance(rule.act, Canary))

    @cached_property
    def custom_probes(self) -> tuple[Probe, ...]:
        """The policy's own detectors, compiled."""
        return tuple(custom_probe(custom) for custom in self.detectors)

    @cached_property
    def reads_answers(self) -> bool:
        """True when some rule looks into answers, or has to remember what is in them."""
        return any(find.response for find in self._finds) or CONVERSATION in self.call_types

    @cached_property
    def marks_answers(self) -> bool:
        """True when some rule marks texts of answers, whatever is in them."""
        acts = (rule.act for rule in self.content_rules)
        return any(isinstance(act, Redact) and act.marks_all for act in acts)

    @cached_property
    def counts_tokens(self) -> bool:
        """True when some limit asks for exact counts."""
        return any(rule.act.exact for rule in self.limits)

    @cached_property
    def stream_types(self) -> tuple[tuple[str, ...], ...]:
        """The selections of types that scanners of a streamed answer look for."""
        named = {name for find in self._finds if find.response for name in find.types}
        denied = {
            name
            for rule in self.content_rules
            if rule.enforced and isinstance(rule.act, Deny) and rule.act.find is not None
            for name in rule.act.find.types
        }
        tone = any(name.partition(".")[0] == TONE for name in denied)
        asked = tuple(sorted(n for n in named if tone or n.partition(".")[0] != TONE))
        heard = REMEMBERED if CONVERSATION in self.call_types else ()
        return tuple(types for types in (asked, heard) if types)

    @cached_property
    def asks_for_tone(self) -> bool:
        """True when some rule looks for toxicity in answers."""
        named = {name for find in self._finds if find.response for name in find.types}
        return any(name.partition(".")[0] == TONE for name in named)

    @cached_property
    def asks_for_blobs(self) -> bool:
        """True when some rule asks what kinds of files a request carries."""
        return any(rule.act.blobs is not None for rule in self.rules if isinstance(rule.act, Deny))

    @cached_property
    def looks_into_calls(self) -> bool:
        """True when some rule looks into what calls say, so that they must be readable."""
        return bool(self.content_rules or self.tools or self.routes or self.asks_for_blobs)

    @cached_property
    def reads_documents(self) -> bool:
        """True when some rule looks into files."""
        return any("document" in find.zones for find in self._finds)

    @cached_property
    def named_hosts(self) -> tuple[str, ...]:
        """The host patterns rules name: ``intercept: ai`` includes them."""
        return tuple(sorted(set(_hosts(self.rules))))

    def names(self, host: str, port: int) -> bool:
        """True when this host is named: in a rule, or under ``intercept``."""
        patterns = self.named_hosts
        if isinstance(self.intercept, tuple):
            patterns += self.intercept
        return any(matches(pattern, host, port) for pattern in patterns)

    @cached_property
    def _finds(self) -> tuple[Find, ...]:
        return tuple(find for rule in self.rules if (find := find_of(rule)) is not None)


def find_of(rule: Rule[Any]) -> Find | None:
    """What a rule looks for in texts, if it does."""
    return rule.act.find if isinstance(rule.act, Redact | Deny) else None


def narrower(mode: Mode, stated: Mode | None) -> Mode:
    """The weaker of the policy's mode and the rule's own."""
    return stated if stated is not None and MODE_RANK[stated] < MODE_RANK[mode] else mode


def _hosts(rules: Iterable[Rule[Any]]) -> Iterable[str]:
    for rule in rules:
        if (
            isinstance(rule.act, Allow | Deny | Credential | Route | Canary)
            and rule.act.target.hosts
        ):
            yield from rule.act.target.hosts.patterns
        elif isinstance(rule.act, Tools) and rule.act.server != EVERY_SERVER:
            yield rule.act.server.split("://", 1)[-1].split("/", 1)[0]
