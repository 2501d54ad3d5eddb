"""From an inventory to a first policy: what was seen is allowed, secrets stay inside.

The result is a draft for people to read: it is in shadow mode, says what it leaves out and
why, and loads as it is. Names come from traffic, so each one is written as a quoted string.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import count

from penstock.record.inventory import Entry
from penstock.record.names import NONE, OTHER

# A model or tool name that is safe to write into a pattern list: no wildcard, no control.
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+\-]{0,127}")

HEAD = """\
# Written by `penstock discover policy` from {calls} calls to {hosts} destinations.
# It allows what was seen. Read it, delete what should not be, then set mode: enforce.
version: 1
name: discovered
mode: shadow
rules:
"""

SECRETS = """\
  - id: no-secrets-out
    redact:
      find: [secret]
      in: [request]
      with: placeholder
"""


def starter_policy(entries: Sequence[Entry]) -> str:
    """A policy in YAML that ``penstock check`` accepts."""
    hosts = {entry.host for entry in entries}
    taken = {"no-secrets-out"}
    parts = [HEAD.format(calls=sum(entry.calls for entry in entries), hosts=len(hosts))]
    parts += _models([entry for entry in entries if not _is_mcp(entry)], taken)
    parts += _tools([entry for entry in entries if _is_mcp(entry)], taken)
    return "".join([*parts, SECRETS])


def _models(entries: Sequence[Entry], taken: set[str]) -> list[str]:
    """One allow rule per provider; one per host where the catalogue knows no provider."""
    by_provider: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        named = entry.provider if entry.known and entry.provider else None
        by_provider[("providers", named) if named else ("hosts", entry.host)].append(entry)
    parts = []
    for (key, name), group in sorted(by_provider.items()):
        models = sorted({entry.model for entry in group if PLAIN.fullmatch(entry.model)} - {NONE})
        apis = sorted({api for entry in group for api in entry.apis if PLAIN.fullmatch(api)})
        if not PLAIN.fullmatch(name) or name == OTHER or not (models or apis):
            parts.append(f"  # not allowed: {json.dumps(name)}: no model was seen\n")
            continue
        lines = [f"{key}: [{json.dumps(name)}]"]
        if models:
            lines.append(f"models: {json.dumps(models)}")
        if key == "hosts" or not models:
            lines.append(f"apis: {json.dumps(apis)}")
        body = "".join(f"      {line}\n" for line in lines)
        parts.append(f"  - id: {_identifier('seen', name, taken)}\n    allow:\n{body}")
    return parts


def _tools(entries: Sequence[Entry], taken: set[str]) -> list[str]:
    """One tools rule per MCP server."""
    tools: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        tools[entry.host] |= {name for name in entry.tools if PLAIN.fullmatch(name)}
    parts = []
    for host, names in sorted(tools.items()):
        if not names or not PLAIN.fullmatch(host):
            parts.append(f"  # no rule for {json.dumps(host)}: none of its tools was seen\n")
            continue
        parts.append(
            f"  - id: {_identifier('tools', host, taken)}\n"
            "    tools:\n"
            f"      server: {json.dumps(f'https://{host}/*')}\n"
            f"      allow: {json.dumps(sorted(names))}\n"
        )
    return parts


def _is_mcp(entry: Entry) -> bool:
    return entry.category == "mcp" or any(api.startswith("mcp.") for api in entry.apis)


def _identifier(prefix: str, name: str, taken: set[str]) -> str:
    """A rule id that no other rule has: ``seen-openai``, ``seen-openai-2``."""
    base = f"{prefix}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"
    numbered = (f"{base}-{number}" for number in count(2))
    chosen = base if base not in taken else next(one for one in numbered if one not in taken)
    taken.add(chosen)
    return chosen
