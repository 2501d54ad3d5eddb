"""A call in the form a target wants it: path, query, model and credentials; the rest stays.

Only what differs between services of one wire format is changed: the path before and the model
inside it, the ``model`` of the body (no other byte moves), the host, and what speaks of the
caller's account. ``speaks`` says who speaks what; a call in another format is translated first
(``route.translate``), and takes its form here like a call of the target's own format.
Sources: Azure OpenAI REST reference (deployments, api-version, the ``/openai/v1`` form); Gemini
API and Bedrock reference (model in the path).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from penstock.route.credentials.places import without_credentials
from penstock.route.homes import at_home, path_at
from penstock.route.plan import Choice
from penstock.route.target import DEFAULT_PORTS
from penstock.route.translate.errors import Format
from penstock.route.translate.request import ANTHROPIC_VERSION, FORMAT_HEADERS, Aim, Translated
from penstock.wire.json_spans import insert_member, replace_value

Fields = Sequence[tuple[bytes, bytes]]
Where = tuple[str, str, int]  # scheme, host, port

# These providers serve a wire format other than OpenAI's, which is what everybody else serves.
FORMATS: dict[str, tuple[str, ...]] = {
    "anthropic": ("anthropic",),
    "gemini": ("gemini", "openai"),
    "google": ("gemini", "openai"),
    "vertex": ("gemini", "openai"),
    "bedrock": ("bedrock",),
    "aws": ("bedrock",),
    "ollama": ("ollama", "openai", "anthropic"),
    "cohere": ("cohere",),
    "replicate": ("replicate",),
    "watsonx": ("watsonx",),
}
# The first word of a family's name is its wire format; Google's is named after its models.
WIRE_FORMATS = {"google": "gemini"}
TRANSLATED: tuple[Format, ...] = ("openai", "anthropic", "gemini")
# What speaks of the caller's account at the service it meant, and of nothing anywhere else.
ACCOUNT_HEADERS = (b"openai-organization", b"openai-project", b"cookie")

_DEPLOYMENT = re.compile(r"/openai/deployments/[^/?]+(?=/)")
# Linear: one segment sequence, anchored.
_ROOT = re.compile(r"/(?:openai/v1|(?:[^/?]+/){0,3}?v[0-9][A-Za-z0-9]*)(?=/)")
_MODEL_IN_PATH = re.compile(r"(?<=/models/)[^/:?]+|(?<=/model/)[^/?]+")


@dataclass(slots=True, frozen=True)
class Form:
    """What one attempt sends. ``fields`` are header fields as on the wire."""

    scheme: str
    host: str
    port: int
    path: str
    fields: Fields
    body: bytes


def speaks(
    provider: str | None, api: str, stated: str | None = None, *, translates: bool = False
) -> bool:
    """True when the provider serves calls of this family as they are; ``stated`` by the policy.

    Where a target translates, its provider's first format counts: others have paths of their own.
    """
    word = api.partition(".")[0]
    wire_format = WIRE_FORMATS.get(word, word)
    if stated is not None:
        return wire_format == stated
    if wire_format == "unknown":
        return False
    known = FORMATS.get(provider or "")
    if known is not None:
        first = translates and known[0] in TRANSLATED
        return wire_format in (known[:1] if first else known)
    return wire_format == "openai" or provider is None


def format_into(provider: str | None, stated: str | None) -> Format | None:
    """The format a call for this target is translated into; None where none is known."""
    own = (stated,) if stated is not None else FORMATS.get(provider or "", ("openai",))
    if provider is None and stated is None:
        return None
    found = next((one for one in own if one in TRANSLATED), None)
    return next((one for one in TRANSLATED if one == found), None)


def aim_of(choice: Choice) -> Aim:
    """What the translation of a call for this choice has to know."""
    assert choice.into is not None  # asked of translated choices only
    provider, target = choice.destination.provider, choice.target
    return Aim(choice.into, provider, choice.asked_model, target.max_tokens)


def translated_form(choice: Choice, fields: Fields, translated: Translated) -> Form:
    """The request for a choice whose call was translated."""
    target, place, body = choice.target, choice.destination, translated.body
    host_changes = not _same_host(fields, place.host, place.port, target.scheme)
    fields, _ = _account(choice, fields, "/", host_changes)
    kept = [(n, v) for n, v in fields if n.lower().decode("latin-1") not in FORMAT_HEADERS]
    kept = [(n, b"identity" if n.lower() == b"accept-encoding" else v) for n, v in kept]
    path = moved_path(choice, translated.path)
    if choice.home is not None:
        model, stream = choice.asked_model or "", translated.stream
        path = path_at(choice.home, target.base, model, stream)
        kept, body = at_home(choice.home, kept, body, model, stream)
    elif choice.into == "anthropic":
        kept.append((b"anthropic-version", ANTHROPIC_VERSION.encode()))
    return Form(target.scheme, place.host, place.port, path, _length(kept, len(body)), body)


def rehomed_form(choice: Choice, fields: Fields, body: bytes, stream: bool) -> Form:
    """The request for another home of Anthropic's messages."""
    target, place, model = choice.target, choice.destination, choice.asked_model or ""
    assert choice.home is not None  # asked of such choices only
    host_changes = not _same_host(fields, place.host, place.port, target.scheme)
    kept, _ = _account(choice, fields, "/", host_changes)
    kept = [(n, b"identity" if n.lower() == b"accept-encoding" else v) for n, v in kept]
    kept, body = at_home(choice.home, kept, body, model, stream)
    path = path_at(choice.home, target.base, model, stream)
    return Form(target.scheme, place.host, place.port, path, _length(kept, len(body)), body)


def formed(
    choice: Choice, asked_model: str | None, where: Where, path: str, fields: Fields, body: bytes
) -> Form:
    """The request for ``choice``; ``where`` the caller's own goes.

    ``asked_model`` is the model the request names now.
    """
    target, place = choice.target, choice.destination
    if target.is_original and choice.asked_model == asked_model:
        return Form(*where, path, fields, body)
    here = path
    if not target.is_original:
        where = target.scheme, place.host, place.port
        host_changes = not _same_host(fields, place.host, place.port, target.scheme)
        here = moved_path(choice, path)
        fields, here = _account(choice, fields, here, host_changes)
    if choice.asked_model != asked_model and choice.asked_model is not None:
        here, body = _with_model(choice, here, body)
    elif _DEPLOYMENT.search(path) and not _DEPLOYMENT.search(here) and choice.asked_model:
        body = _model_in_body(body, choice.asked_model)
    return Form(*where, here, _length(fields, len(body)), body)


def moved_path(choice: Choice, path: str) -> str:
    """The path at the target: its base, then what the API adds; the query stays."""
    target = choice.target
    place, _, query = path.partition("?")
    rest = _DEPLOYMENT.sub("", place) if _DEPLOYMENT.search(place) else None
    if rest is None:
        root = _ROOT.match(place)
        rest = place[root.end() :] if root else None
    if "/models/" in place and target.base:
        here = target.base + place[place.index("/models/") :]  # Gemini and Vertex AI
    elif rest is None or "/models/" in place or place.startswith("/model/"):
        here = target.base + place
    elif target.provider == "azure" and not target.base.endswith("/v1"):
        deployment = quote(choice.asked_model or "", safe="")
        here = f"{target.base}/openai/deployments/{deployment}{rest}"
        query = _with_version(query, target.api_version)
    else:
        here = (target.base or "/v1") + rest
        query = _without_version(query) if "api-version=" in query else query
    return f"{here}?{query}" if query else here


def _with_version(query: str, version: str | None) -> str:
    query = _without_version(query)
    said = f"api-version={quote(version or '', safe='')}"
    return f"{query}&{said}" if query else said


def _without_version(query: str) -> str:
    return "&".join(p for p in query.split("&") if p and not p.startswith("api-version="))


def _account(
    choice: Choice, fields: Fields, path: str, host_changes: bool
) -> tuple[list[tuple[bytes, bytes]], str]:
    """Host, and the caller's key and account only where they may go."""
    target, kept = choice.target, list(fields)
    if target.key == "none" or (host_changes and target.key != "caller"):
        kept, path = without_credentials(kept, path)
    if host_changes:
        kept = [field for field in kept if field[0].lower() not in ACCOUNT_HEADERS]
    port = choice.destination.port
    named = choice.destination.host
    named += "" if port == DEFAULT_PORTS[target.scheme] else f":{port}"
    return [(n, named.encode() if n.lower() == b"host" else v) for n, v in kept], path


def _same_host(fields: Fields, host: str, port: int, scheme: str) -> bool:
    named = next((v.decode("latin-1").lower() for n, v in fields if n.lower() == b"host"), "")
    return named in (f"{host}:{port}", host if port == DEFAULT_PORTS[scheme] else "")


def _with_model(choice: Choice, path: str, body: bytes) -> tuple[str, bytes]:
    model = choice.asked_model or ""
    if _MODEL_IN_PATH.search(path):
        return _MODEL_IN_PATH.sub(lambda _: quote(model, safe="@.-_"), path, count=1), body
    if _DEPLOYMENT.search(path):
        deployment = f"/openai/deployments/{quote(model, safe='')}"
        return _DEPLOYMENT.sub(lambda _: deployment, path, count=1), body
    return path, _model_in_body(body, model)


def _model_in_body(body: bytes, model: str) -> bytes:
    """The body with this ``model``; one that is no JSON object stays as it is."""
    value = orjson.dumps(model)
    changed = replace_value(body, ("model",), value)
    return insert_member(body, (), "model", value) if changed is body else changed


def _length(fields: Fields, size: int) -> list[tuple[bytes, bytes]]:
    return [
        (name, str(size).encode() if name.lower() == b"content-length" else value)
        for name, value in fields
    ]
