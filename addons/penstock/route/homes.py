"""Anthropic's messages at their three homes: its own API, Vertex AI and Bedrock.

One body with the documented small differences: where the model and the wish for a stream stand,
which version is named, how beta features are asked for. Changed as spans: no other byte moves.
Sources: Anthropic API reference; Google Cloud, "Use Claude on Vertex AI" (rawPredict,
streamRawPredict); Bedrock user guide, "Anthropic Claude Messages API" (InvokeModel,
InvokeModelWithResponseStream).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson

from penstock.route.translate.errors import Home
from penstock.route.translate.request import ANTHROPIC_VERSION
from penstock.wire.json_spans import insert_member, remove_member, replace_value
from penstock.wire.loose import as_dict, as_list

Fields = list[tuple[bytes, bytes]]

# The same version by its three names. Later ones have one name at all homes (Anthropic's SDKs).
VERSIONS: dict[Home, str] = {
    "anthropic": ANTHROPIC_VERSION,
    "vertex": "vertex-2023-10-16",
    "bedrock": "bedrock-2023-05-31",
}
PUBLISHER = "/publishers/anthropic"
INVOKE_APIS = ("bedrock.invoke", "bedrock.invoke_stream")


def home_of_call(api: str, path: str, document: Any) -> Home | None:
    """Where a call was sent, if it is one of Anthropic's messages."""
    if api == "anthropic.messages":
        return "vertex" if path.partition("?")[0].endswith("redict") else "anthropic"
    if api in INVOKE_APIS and "anthropic_version" in as_dict(document):
        return "bedrock"
    return None


def home_of_target(provider: str | None, stated: str | None) -> Home | None:
    """Where a target is; ``stated`` is the format its policy says it speaks."""
    if stated not in (None, "anthropic"):
        return None
    if provider == "vertex":
        return "vertex"
    if provider in ("bedrock", "aws"):
        return "bedrock"
    return "anthropic" if provider == "anthropic" or stated == "anthropic" else None


def path_at(home: Home, base: str, model: str, stream: bool) -> str:
    """The path of a call at a home, below the target's base."""
    if home == "anthropic":
        return (base or "/v1") + "/messages"
    if home == "vertex":
        place = base if "/publishers/" in base else base + PUBLISHER
        verb = "streamRawPredict" if stream else "rawPredict"
        return f"{place}/models/{quote(model, safe='@.-_')}:{verb}"
    verb = "invoke-with-response-stream" if stream else "invoke"
    return f"{base}/model/{quote(model, safe='@.-_')}/{verb}"


def at_home(
    home: Home, fields: Fields, body: bytes, model: str, stream: bool
) -> tuple[Fields, bytes]:
    """Header fields and body as this home wants them, wherever they come from."""
    betas, version = asked_betas(fields, body), version_of(fields, body)
    version = VERSIONS[home] if version is None or version in VERSIONS.values() else version
    kept = [f for f in fields if f[0].lower() not in (b"anthropic-version", b"anthropic-beta")]
    kept = [f for f in kept if not f[0].lower().startswith((b"x-amz-", b"x-amzn-"))]
    body = remove_member(remove_member(body, ("anthropic_version",)), ("anthropic_beta",))
    if home == "anthropic":
        kept.append((b"anthropic-version", version.encode("latin-1", "replace")))
        body = _with(body, "model", model)
    else:
        body = insert_member(
            remove_member(body, ("model",)), (), "anthropic_version", orjson.dumps(version)
        )
    if home == "bedrock":
        body = remove_member(body, ("stream",))
        if betas:
            body = insert_member(body, (), "anthropic_beta", orjson.dumps(betas))
    else:
        if stream:
            body = _with(body, "stream", True)
        if betas:
            kept.append((b"anthropic-beta", ",".join(betas).encode("latin-1", "replace")))
    return kept, body


def asked_betas(fields: Fields, body: bytes) -> list[str]:
    """The beta features a call asks for, in its header or, at Bedrock, in its body."""
    found = [value.decode("latin-1") for name, value in fields if name.lower() == b"anthropic-beta"]
    names = [name.strip() for value in found for name in value.split(",")]
    if b"anthropic_beta" in body:
        names += as_list(_document(body).get("anthropic_beta"))
    return [name for name in dict.fromkeys(map(str, names)) if name]


def version_of(fields: Fields, body: bytes) -> str | None:
    """The version a call names, in its header or, away from Anthropic's own API, in its body."""
    named = next((v for n, v in fields if n.lower() == b"anthropic-version"), None)
    if named is not None:
        return named.decode("latin-1")
    found = _document(body).get("anthropic_version") if b"anthropic_version" in body else None
    return found if isinstance(found, str) and found.isprintable() else None


def _document(body: bytes) -> dict[str, Any]:
    try:
        return as_dict(orjson.loads(body))
    except orjson.JSONDecodeError:
        return {}


def _with(body: bytes, name: str, value: Any) -> bytes:
    """The body with this member, put in or in place of the one it has."""
    written = orjson.dumps(value)
    changed = replace_value(body, (name,), written)
    return insert_member(body, (), name, written) if changed is body else changed
