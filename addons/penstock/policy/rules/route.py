"""``route``: where a call goes: which targets can serve it, in what order, how long to try.

Which calls the rule speaks of is said as in other rules, and by what is found in the prompt
(``when_found``), its size and its tools. Where several rules apply, a rule about what was found
counts before all others, then the one that says most about the call, then the first by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from penstock.destinations import identify
from penstock.policy import target
from penstock.policy.call import Call
from penstock.policy.language.keys import Key
from penstock.policy.language.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.target import read_target
from penstock.route.balance import Balance
from penstock.route.form import format_into
from penstock.route.target import ORIGINAL, Target, parse_url

ATTEMPTS = 3
# A list of targets is written by hand; more hosts stand behind one name.
TARGETS_MAX = 50


@dataclass(slots=True, frozen=True)
class Route:
    """``larger_than`` is bytes of the request body; ``tools`` asks whether it declares any."""

    target: target.Target
    to: tuple[Target, ...]
    when_found: tuple[str, ...] = ()
    larger_than: int | None = None
    tools: bool | None = None
    balance: Balance = "weighted"
    sticky: bool = True
    attempts: int = ATTEMPTS
    attempt_seconds: int | None = None
    give_up_seconds: int | None = None

    def speaks_of(self, call: Call) -> bool:
        """True when the rule is about calls like this one, its content left aside."""
        if self.larger_than is not None and call.body_bytes <= self.larger_than:
            return False
        if self.tools is not None and self.tools != bool(call.exchange.tools):
            return False
        return self.target.names(call)

    @property
    def stated(self) -> int:
        """How much the rule says about the calls it is for."""
        named = self.target
        said = (named.providers, named.models, named.categories, named.hosts, named.apis)
        return sum(one is not None for one in (*said, self.larger_than, self.tools))

    def keeps(self, urls: Sequence[str]) -> tuple[Target, ...]:
        """The rule's targets among ``urls``."""
        return tuple(one for one in self.to if one.url in urls)


def build(section: Section) -> Route | None:
    """The rule of a ``route`` section; None (and problems) when a target cannot be used."""
    values = section.values
    sections: tuple[Section, ...] = values.get("to", ())
    targets = [_target(one) for one in sections]
    if "to" in section.lines and not sections:
        section.report("an empty list of targets serves nobody", "to")
    if len(targets) > TARGETS_MAX:
        section.report(f"more than {TARGETS_MAX} targets", "to")
    balance: Balance = values.get("balance", "weighted")
    sticky: Literal["conversation", "none"] | None = values.get("sticky")
    if sticky == "conversation" and balance != "weighted":
        section.report("a conversation stays where its weight put it: balance: weighted", "sticky")
    if not targets or any(one is None for one in targets):
        return None
    tools = values.get("tools")
    return Route(
        read_target(section),
        tuple(one for one in targets if one is not None),
        values.get("when_found", ()),
        values.get("larger_than"),
        None if tools is None else tools == "yes",
        balance,
        balance == "weighted" and sticky != "none",
        values.get("attempts", ATTEMPTS),
        values.get("attempt_timeout"),
        values.get("give_up_after"),
    )


def _target(section: Section) -> Target | None:
    values = section.values
    url: str | None = values.get("url")
    if url is None:
        return None
    common = {name: values[name] for name in _COMMON if name in values}
    common["models"] = tuple(values.get("models", {}).items())
    if url == ORIGINAL:
        for name in ("provider", "api_version", "format", "key", "translate", "max_tokens"):
            if name in section.lines:
                section.report("the original destination is what the caller made it", name)
        return Target(ORIGINAL, **common)
    try:
        scheme, host, port, base = parse_url(url)
    except ValueError as error:
        section.report(f"{error}: https://llm.internal.example/v1, or {ORIGINAL}", "url")
        return None
    translate = common["translate"] = common.get("translate") == "yes"
    if translate and format_into(common.get("provider"), common.get("format")) is None:
        known = identify(host, port, base or "/").provider
        if format_into(known, common.get("format")) is None:
            section.report("say the wire format it speaks: 'format', or 'provider'", "translate")
    if not translate and "max_tokens" in section.lines:
        section.report("belongs to 'translate: yes'", "max_tokens")
    azure = common.get("provider") == "azure"
    if not azure and "api_version" in section.lines:
        section.report("belongs to 'provider: azure'", "api_version")
    if azure and not base.endswith("/v1") and "api_version" not in common:
        section.report("'api_version' is missing: Azure wants one for its deployments")
    return Target(url, scheme, host, port, base, **common)


_COMMON = (
    "provider", "weight", "priority", "region", "api_version", "format", "key", "translate",
    "max_tokens",
)  # fmt: skip
TARGET_KEYS = (
    Key(
        "url",
        "text",
        "Where: scheme, host, and the path before the API's own (https://llm.example/v1); "
        "or original, the destination the caller asked for.",
        required=True,
    ),
    Key("provider", "text", "Which service this is, by the catalogue's names; azure, openai."),
    Key("models", "names", "What callers ask for (a name or pattern), and its name here."),
    Key("weight", "count", "Its share among targets of one priority. Default 1."),
    Key("priority", "count", "Lower is tried first. Default 1."),
    Key("region", "text", "Targets in the caller's own region go first in their priority."),
    Key("api_version", "text", "The api-version Azure deployments are called with."),
    Key(
        "format",
        "choice",
        "The wire format it speaks, where that is not its provider's own.",
        ("openai", "anthropic", "gemini", "bedrock", "cohere", "ollama"),
    ),
    Key(
        "key",
        "choice",
        "caller: the caller's key goes along. none: it does not. Default: it goes to the host "
        "the caller meant, and to no other.",
        ("caller", "none"),
    ),
    Key(
        "translate",
        "choice",
        "yes: calls in another of the formats openai, anthropic and gemini are translated into "
        "this target's. Default no.",
        ("yes", "no"),
    ),
    Key(
        "max_tokens",
        "count",
        "Of translated calls: the maximum of tokens where the call names none and the format "
        "needs one (anthropic).",
    ),
)

KIND = Kind(
    "route",
    "Where calls go: targets tried in order until one answers.",
    (
        *target.KEYS,
        Key("when_found", "types", "Only prompts in which one of these types is found."),
        Key("larger_than", "count", "Only request bodies larger than this many bytes."),
        Key("tools", "choice", "Only calls that declare tools (yes), or none (no).", ("yes", "no")),
        Key("to", "sections", "The targets.", required=True, keys=TARGET_KEYS),
        Key(
            "balance",
            "choice",
            "Among targets of one priority. Default weighted.",
            ("weighted", "least_outstanding", "lowest_latency"),
        ),
        Key(
            "sticky",
            "choice",
            "conversation: the turns of one conversation go to one target, so that its prompt "
            "cache hits. Default for weighted.",
            ("conversation", "none"),
        ),
        Key("attempts", "count", f"Targets asked for one call at most. Default {ATTEMPTS}."),
        Key(
            "attempt_timeout",
            "duration",
            "How long a target may take to its first byte while another could follow.",
        ),
        Key("give_up_after", "duration", "After that long no further target is asked."),
    ),
    build,
)
