"""``deny``: what is refused, by destination, by content, or by what it refers to."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.detect.files.blobs import Blob
from penstock.exchange import Exchange
from penstock.mcp import provider_servers
from penstock.policy import find, target
from penstock.policy.call import Call
from penstock.policy.find import Find, read_find
from penstock.policy.globs import Globs
from penstock.policy.language.keys import Key
from penstock.policy.language.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.target import Target, read_target

# What a call may use without sending it, by the field names the APIs give it. A rule cannot
# look into any of these: that is why there is a way to refuse them.
REFERENCES: dict[str, frozenset[str]] = {
    "stored_prompt": frozenset(("prompt", "assistant_id", "agent")),
    "previous_response": frozenset(
        ("previous_response_id", "previous_interaction_id", "previous_message_id", "response_id")
    ),
    "conversation": frozenset(("conversation", "thread_id", "container", "session")),
    "file": frozenset(
        (
            "file_id",
            "file_ids",
            "file_uris",
            "input_file_id",
            "training_file",
            "validation_file",
            "vector_store_ids",
            "knowledge_base",
        )
    ),
    "cached_content": frozenset(("cached_content",)),
    "background": frozenset(("background",)),
    "provider_mcp": frozenset(("mcp_servers",)),
}


@dataclass(slots=True, frozen=True)
class Blobs:
    """Files of these types, or of any, above a size."""

    types: Globs | None = None
    larger_than: int | None = None

    def named(self, call: Call) -> Blob | None:
        """The first file of the call that is one of these."""
        for blob in call.blobs:
            large = self.larger_than is None or blob.size_bytes > self.larger_than
            if large and (self.types is None or any(map(self.types.match, blob.types))):
                return blob
        return None


@dataclass(slots=True, frozen=True)
class Deny:
    """Everything named must hold; ``deny: {}`` refuses every call."""

    target: Target
    references: frozenset[str] | None = None
    find: Find | None = None
    blobs: Blobs | None = None
    declares: Globs | None = None

    def names(self, call: Call) -> bool:
        """True when the call is one this rule speaks of (``find`` is asked apart)."""
        if not self.target.names(call):
            return False
        if self.blobs is not None and self.blobs.named(call) is None:
            return False
        if self.declares is not None and not self.declared(call.exchange):
            return False
        return self.references is None or bool(self.used_references(call.exchange))

    def declared(self, exchange: Exchange) -> list[str]:
        """Which of the tools the call declares the rule names."""
        if self.declares is None:
            return []
        return [tool.name for tool in exchange.tools if self.declares.match(tool.name)]

    def used_references(self, exchange: Exchange) -> list[str]:
        """Which of the rule's references the call uses."""
        if self.references is None:
            return []
        used = {name for name in self.references if REFERENCES[name] & exchange.references.keys()}
        if "provider_mcp" in self.references and provider_servers(exchange):
            used.add("provider_mcp")
        return sorted(used)


def build(section: Section) -> Deny:
    """The rule of a ``deny`` section."""
    rule = Deny(
        read_target(section),
        _references(section),
        read_find(section),
        _blobs(section),
        _declares(section),
    )
    if rule.target.is_nothing or rule.references == frozenset() or rule.declares == Globs(()):
        section.report("an empty list matches nothing: the rule can never refuse")
    return rule


def _references(section: Section) -> frozenset[str] | None:
    named = section.values.get("references")
    return None if named is None else frozenset(named)


def _declares(section: Section) -> Globs | None:
    names = section.values.get("declares")
    return None if names is None else Globs(names)


def _blobs(section: Section) -> Blobs | None:
    types, size = section.values.get("blobs"), section.values.get("blobs_larger_than")
    if types is None and size is None:
        return None
    if types == ():
        section.report("an empty list matches no file: the rule can never refuse", "blobs")
    return Blobs(None if types is None else Globs(types), size)


KIND = Kind(
    "deny",
    "What is refused. All that is named must hold; {} refuses every call.",
    (
        *target.KEYS,
        *find.KEYS,
        Key(
            "references",
            "choices",
            "Content the call uses without sending it, so that no rule can read it.",
            tuple(REFERENCES),
        ),
        Key(
            "declares",
            "globs",
            "Tools the call declares, by name: web_search*; those the provider runs as "
            "builtin:TYPE: builtin:code_interpreter.",
        ),
        Key(
            "blobs",
            "globs",
            "Files inside the request (images, documents, audio) of these types: image/*, "
            "application/pdf; by what they are called and by what they are.",
        ),
        Key("blobs_larger_than", "count", "Only files larger than this many bytes."),
    ),
    build,
)
