"""Where a rule applies: providers, models, categories, hosts, API families.

What is not named is not asked; what is named must all hold. An allow rule asks for
certainty (a provider the catalogue knows, a model the call names); a deny rule takes any sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from penstock.exchange import Category
from penstock.policy.call import Call, Kind
from penstock.policy.globs import Globs
from penstock.policy.language.keys import Key

if TYPE_CHECKING:
    from penstock.policy.language.read import Section

CATEGORIES: tuple[str, ...] = get_args(Category)

KEYS = (
    Key("providers", "globs", "Providers by the catalogue's names: openai, anthropic, gemini."),
    Key("models", "globs", "Models the call asks for."),
    Key("categories", "choices", "Kinds of service in the catalogue.", CATEGORIES),
    Key("hosts", "globs", "Host names, or host:port."),
    Key("apis", "globs", "API families: openai.chat_completions, anthropic.messages."),
)


@dataclass(slots=True, frozen=True)
class Target:
    """The destinations a rule speaks of; a field that is None is not asked."""

    providers: Globs | None = None
    models: Globs | None = None
    categories: frozenset[str] | None = None
    hosts: Globs | None = None
    apis: Globs | None = None

    @property
    def is_everything(self) -> bool:
        """True when nothing is named."""
        return self == Target()

    @property
    def is_nothing(self) -> bool:
        """True when a list is empty, so that no call can match."""
        named = (self.providers, self.models, self.hosts, self.apis)
        return self.categories == frozenset() or any(
            globs is not None and not globs.patterns for globs in named
        )

    def names(self, call: Call) -> bool:
        """True when the call may be one of these; any sign is enough (deny rules)."""
        destination, exchange = call.destination, call.exchange
        if self.categories is not None and destination.category not in self.categories:
            return False
        if self.providers is not None and not self.providers.match(destination.provider or ""):
            return False
        if self.models is not None and not self.models.match(exchange.model or ""):
            return False
        if self.apis is not None and not self.apis.match(exchange.api):
            return False
        return self.hosts is None or _host_matches(self.hosts, call)

    def admits(self, call: Call) -> bool:
        """True when the call is surely one of these (allow rules).

        A call that names no model is admitted only with an empty body: a stored prompt, an
        assistant or a batch file would bring its own model past the list.
        """
        if self.providers is not None and not call.destination.known:
            return False
        if self.models is not None and call.exchange.model is None:
            if call.body_bytes:
                return False
            return Target(self.providers, None, self.categories, self.hosts, self.apis).names(call)
        return self.names(call)

    def covers(self, kind: Kind) -> bool:
        """True when a rule with this target speaks for destinations of ``kind``."""
        if self.categories:
            return any(_category_kind(category) == kind for category in self.categories)
        if self.apis is not None and kind == "mcp" and self.apis.match("mcp.streamable_http"):
            return True
        if self.providers is not None or self.models is not None or self.apis is not None:
            return kind == "model"
        return True

    def __str__(self) -> str:
        named: list[tuple[str, object]] = [
            ("providers", self.providers),
            ("models", self.models),
            ("categories", ", ".join(sorted(self.categories)) if self.categories else None),
            ("hosts", self.hosts),
            ("apis", self.apis),
        ]
        return "; ".join(f"{name} {value}" for name, value in named if value) or "everything"


def read_target(section: Section) -> Target:
    """The target a section names."""
    values = section.values

    def globs(name: str) -> Globs | None:
        return Globs(values[name]) if name in values else None

    categories = frozenset(values["categories"]) if "categories" in values else None
    return Target(globs("providers"), globs("models"), categories, globs("hosts"), globs("apis"))


def _host_matches(hosts: Globs, call: Call) -> bool:
    host = call.destination.host
    return hosts.match(host) or hosts.match(f"{host}:{call.destination.port}")


def _category_kind(category: str) -> Kind:
    return "mcp" if category == "mcp" else "other" if category == "other" else "model"
