"""Does a server's question ask the person for a secret, or send them somewhere else?

MCP forbids servers to ask for passwords and the like in a form (2025-06-18, Elicitation), and
wants pages the person is sent to to be the server's own. Forms are judged by their fields and by
what the message tells the person to type; a mere mention of a password is no question for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from penstock.destinations import canonical_host
from penstock.wire.loose import as_dict, as_text

# A form has a handful of fields; of a longer one the first are read, and the rest is no form.
FIELDS_MAX = 200
TEXT_CHARACTERS_MAX = 4000

_ASKED_FOR = (
    r"pass(?:word|phrase|code)|passwort|kennwort|mot de passe|contrase(?:ñ|n)a|api[ _-]?key"
    r"|(?:secret|private|access|signing|encryption)[ _-]?key|client[ _-]?secret"
    r"|(?:access|auth|api|bearer|refresh|session|oauth|security)[ _-]?tokens?|credentials?"
    r"|(?:seed|recovery|backup)[ _-]?(?:phrase|words|codes?)|one[ -]?time[ _-]?(?:code|password)"
    r"|otp|2fa|mfa|tan|pin|cvv|cvc|card[ _-]?number|iban|ssn|social security"
    r"|(?:verification|security|login|auth(?:entication|orization)?)[ _-]?code"
)
# Alternatives without repetition inside: time is linear in the text.
_FIELD = re.compile(rf"(?:^|[^a-z])(?:{_ASKED_FOR})s?(?:$|[^a-z])", re.IGNORECASE)
_TOLD_TO_TYPE = re.compile(
    r"\b(?:re-?)?(?:enter|type|provide|paste|share|give|send|supply|submit|input|confirm|verify)\b"
    rf"[^.?!\n]{{0,60}}?\b(?:{_ASKED_FOR})s?\b",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def asks_for_secret(params: dict[str, Any]) -> bool:
    """True for a form with a field for a secret, or a message that tells to type one."""
    message = (as_text(params.get("message")) or "")[:TEXT_CHARACTERS_MAX]
    schema = as_dict(params.get("requestedSchema"))
    fields = list(_fields(schema))
    if any(_FIELD.search(_CAMEL.sub(" ", text)) for text in fields):
        return True
    return bool(fields) and _TOLD_TO_TYPE.search(message) is not None


def sends_elsewhere(params: dict[str, Any], host: str) -> bool:
    """True for a page that is not at ``host`` or below it, or not by https."""
    url = as_text(params.get("url"))
    if url is None:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    there = canonical_host(parts.hostname or "")
    return parts.scheme != "https" or not (there == host or there.endswith(f".{host}"))


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    """Names, titles and descriptions of a form's fields for text."""
    for number, (name, field) in enumerate(as_dict(schema.get("properties")).items()):
        if number >= FIELDS_MAX:
            return
        described = as_dict(field)
        if described.get("type") in ("boolean",) or "enum" in described:
            continue
        if described.get("format") == "password":
            yield "password"
        for text in (name, described.get("title"), described.get("description")):
            if isinstance(text, str):
                yield text[:TEXT_CHARACTERS_MAX]
