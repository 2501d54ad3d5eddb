"""Which agent or client library speaks, by its User-Agent and the marks SDKs leave.

A claim, never proof: fit for inventories and budgets, not for granting anything.
Names are lower case with hyphens: ``claude-code``, ``codex``, ``openai-python``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

# A User-Agent longer than this says nothing more; Records and labels stay small.
USER_AGENT_CHARACTERS_MAX = 256
# An application's own name in a header, and the session it names.
NAME_CHARACTERS_MAX = 64
SESSION_CHARACTERS_MAX = 128
# Speakers remembered: a pod has a handful; invented ones push each other out.
REMEMBERED_MAX = 1024

# Product tokens of agents, matched by prefix, lower case. An agent is more telling than the
# SDK it is built on, so these are looked for in every product of the header first.
AGENTS: tuple[tuple[str, str], ...] = (
    ("claude-cli", "claude-code"),
    ("claude-code", "claude-code"),
    ("codex_", "codex"),
    ("codex-", "codex"),
    ("codex/", "codex"),
    ("geminicli", "gemini-cli"),
    ("opencode", "opencode"),
    ("qwencode", "qwen-code"),
    ("githubcopilot", "github-copilot"),
    ("copilot-cli", "github-copilot"),
    ("cursor", "cursor"),
    ("cline", "cline"),
    ("roocode", "roo-code"),
    ("roo-code", "roo-code"),
    ("kilo-code", "kilo-code"),
    ("aider", "aider"),
    ("goose", "goose"),
    ("zed/", "zed"),
    ("windsurf", "windsurf"),
    ("kiro", "kiro"),
    ("factory-cli", "factory"),
    ("openhands", "openhands"),
    ("crush", "crush"),
    ("amazonq", "amazon-q"),
)

# Client libraries. The first word of the product after removing Async, Azure, Bedrock, Vertex
# decides; the language comes from the rest ("OpenAI/Python 2.3.0", "Anthropic/JS 0.70").
SDK_WORDS: Mapping[str, str] = {
    "openai": "openai",
    "asyncopenai": "openai",
    "azureopenai": "openai",
    "asyncazureopenai": "openai",
    "anthropic": "anthropic",
    "asyncanthropic": "anthropic",
    "anthropicbedrock": "anthropic",
    "asyncanthropicbedrock": "anthropic",
    "anthropicvertex": "anthropic",
    "asyncanthropicvertex": "anthropic",
    "agents": "openai-agents",
}
LANGUAGES: Mapping[str, str] = {"python": "python", "js": "node", "nodejs": "node", "node": "node"}

# Headers that carry a session by convention; the first that is there counts.
SESSION_HEADERS = (
    "x-claude-code-session-id",
    "session_id",
    "session-id",
    "conversation_id",
    "agent-session-id",
    "x-session-id",
    "x-opencode-session",
    "langfuse-session-id",
)
SESSION_BAGGAGE = ("session.id", "gen_ai.conversation.id", "langfuse.session.id")
BAGGAGE_CHARACTERS_MAX = 8192  # W3C Baggage: propagate at least 8192 bytes

_PRODUCT = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._+-]+)*")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._:@/+=-]+")


def clean_user_agent(headers: Mapping[str, str]) -> str | None:
    """The User-Agent, printable ASCII and cut to a length that fits a Record."""
    text = _UNPRINTABLE.sub("", headers.get("user-agent", "")[:USER_AGENT_CHARACTERS_MAX])
    return text.strip() or None


def agent_of(headers: Mapping[str, str]) -> str | None:
    """The agent, application or SDK behind a request; None when nothing tells.

    Order: a known agent's product token, the application's own title header, a known SDK,
    the first product of the User-Agent as it stands.
    """
    title = headers.get("x-title") or headers.get("x-openrouter-title") or ""
    return _agent(
        clean_user_agent(headers) or "",
        headers.get("originator", "")[:NAME_CHARACTERS_MAX],
        title[:NAME_CHARACTERS_MAX],
        headers.get("x-stainless-lang", "")[:NAME_CHARACTERS_MAX],
        "copilot-integration-id" in headers,
        "anthropic-version" in headers,
    )


@lru_cache(REMEMBERED_MAX)
def _agent(
    user_agent: str, originator: str, title: str, language: str, copilot: bool, anthropic: bool
) -> str | None:
    products = _PRODUCT.findall(user_agent)
    known = _known_agent([*products, originator])
    return (
        known
        or ("github-copilot" if copilot else None)
        or "-".join(_PRODUCT.findall(title)).lower()
        or _sdk(user_agent, language, anthropic)
        or (products[0].partition("/")[0][:NAME_CHARACTERS_MAX].lower() if products else None)
    )


def _known_agent(products: list[str]) -> str | None:
    for product in products:
        lowered = product.lower()
        for prefix, name in AGENTS:
            if lowered.startswith(prefix) or lowered == prefix.rstrip("/_-"):
                return name
    return None


def _sdk(user_agent: str, stainless: str, anthropic: bool) -> str | None:
    word, _, rest = user_agent.partition("/")
    library = SDK_WORDS.get(word.lower())
    if library:
        language = rest.split(" ")[0].split("/")[0].lower()
        return f"{library}-{LANGUAGES.get(language, language) or 'unknown'}"
    language = stainless.lower()
    if not user_agent and language.isalnum():
        library = "anthropic" if anthropic else "openai"
        return f"{library}-{LANGUAGES.get(language, language)}"
    return None


def session_of(headers: Mapping[str, str]) -> str | None:
    """The session an agent names in a header or in W3C baggage; None when it names none."""
    for name in SESSION_HEADERS:
        if found := _identifier(headers.get(name, "")):
            return found
    for member in headers.get("baggage", "")[:BAGGAGE_CHARACTERS_MAX].split(","):
        name, _, value = member.partition(";")[0].strip().partition("=")
        if name.strip() in SESSION_BAGGAGE and (found := _identifier(value.strip())):
            return found
    return None


def _identifier(text: str) -> str | None:
    """``text`` when it is a plain identifier of bearable length: anything else is dropped."""
    fits = 0 < len(text) <= SESSION_CHARACTERS_MAX and _IDENTIFIER.fullmatch(text)
    return text if fits else None
