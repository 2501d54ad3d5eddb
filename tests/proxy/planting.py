"""Plants a secret in one text of a recorded exchange, and says what must arrive instead.

The place is found by the bytes (``wire.json_spans``); which of many texts it is, the
exchange's id decides, so that over all recordings every kind of place has its turn.
"""

from __future__ import annotations

import base64
import copy
import json
import zlib
from collections.abc import Sequence
from typing import Any

from penstock import wire
from penstock.destinations import identify
from penstock.exchange import Exchange as Understood
from penstock.exchange import HttpAnswer, HttpRequest, Leaf, Path
from penstock.wire.edits import BASE64
from penstock.wire.family import Family
from penstock.wire.framing.framings import PARSERS, read_document, unclaimed
from penstock.wire.json_spans import locate
from tests.leaks.values import github_token
from tests.proxy.replay import Exchange, body_of, exchange_of

MASK = "[secret.github_token]"
POLICY = """
version: 1
name: one-leaf
mode: enforce
intercept: all
rules:
  - id: tokens
    redact: {{find: [secret.github_token], in: [{where}], with: mask}}
"""
Line = dict[str, Any]
# What is sent, and what must arrive: one text differs.
Planted = tuple[Exchange, Exchange]


def is_json(side: Line) -> bool:
    """True for an uncoded body that is JSON."""
    if "content-encoding" in side["headers"] or not side.get("body"):
        return False
    try:
        json.loads(body_of(side))
    except ValueError:
        return False
    return True


def planted_request(line: Line) -> Planted | None:
    """The exchange with a token in one text of its request; None where it has no text.

    A body its sender has signed cannot be changed by anybody else: it is refused.
    """
    if not is_json(line["request"]) or "x-amz-content-sha256" in line["request"]["headers"]:
        return None
    understood, _ = read(line)
    return planted_body(line, "request", chosen(line, understood.leaves))


def planted_answer(line: Line) -> Planted | None:
    """The same in a plain answer."""
    if line["streaming"] or not is_json(line["response"]):
        return None
    understood, family = read(line)
    leaves = family.read_answer(understood, answer_of(line))
    return planted_body(line, "response", chosen(line, leaves))


def planted_stream(line: Line) -> Planted | None:
    """The same in one event of a stream, as its framing writes events."""
    if not line["streaming"] or "content-encoding" in line["response"]["headers"]:
        return None
    understood, family = read(line)
    body = body_of(line["response"])
    framing = family.framing(understood, answer_of(line), body[:512])
    if framing not in PARSERS:
        return None
    parser, reader = PARSERS[framing](), family.answer_reader(understood)
    frames = [*parser.feed(body), *parser.end()]
    places: list[tuple[int, Path]] = []
    for number, frame in enumerate(frames):
        if frame.data is None:
            continue
        document = read_document(frame.data)
        for delta in reader.event(frame.name, document) or unclaimed(document):
            plain = not (delta.total or delta.shadows or delta.channel.nested)
            if plain and delta.text and delta.path:
                places.append((number, delta.path))
    if not places:
        return None
    number, path = places[zlib.crc32(line["id"].encode()) % len(places)]
    bodies = []
    for text in (f" {token(line)} ", f" {MASK} "):
        raws = [frame.raw for frame in frames]
        raws[number] = frames[number].rebuild(insert(frames[number].data, path, text))
        bodies.append(b"".join(raws))
    return pair(line, "response", bodies)


def read(line: Line) -> tuple[Understood, Family]:
    """What Penstock understands of the recorded request."""
    exchange = exchange_of(line)
    method, target, _ = exchange.request.first.split(" ")
    headers = {name.lower(): text for name, text in exchange.request.headers}
    request = HttpRequest(
        method, "https", exchange.host, 443, target, headers, exchange.request.body
    )
    understood = wire.read_request(request, identify(exchange.host, 443, target))
    return understood, wire.family_of(understood.api)


def answer_of(line: Line) -> HttpAnswer:
    response = line["response"]
    return HttpAnswer(response["status"], response["headers"], body_of(response))


def chosen(line: Line, leaves: Sequence[Leaf]) -> Leaf | None:
    """One of the texts somebody wrote: not a name, an id or a state."""
    texts = [
        leaf
        for leaf in leaves
        if leaf.editable and not (leaf.blob or leaf.is_key or leaf.nested or leaf.shadows)
        and leaf.path and leaf.span is None and " " in leaf.text.strip()
    ]  # fmt: skip
    return texts[zlib.crc32(line["id"].encode()) % len(texts)] if texts else None


def planted_body(line: Line, side: str, leaf: Leaf | None) -> Planted | None:
    if leaf is None:
        return None
    body = body_of(line[side])
    return pair(line, side, [insert(body, leaf.path, f"{text} ") for text in (token(line), MASK)])


def pair(line: Line, side: str, bodies: list[bytes]) -> Planted:
    made = []
    for body in bodies:
        changed = copy.deepcopy(line)
        changed[side]["body"] = base64.b64encode(body).decode()
        changed[side]["encoding"] = "base64"
        made.append(exchange_of(changed))
    return made[0], made[1]


def insert(body: bytes, path: Path, text: str) -> bytes:
    """Write ``text`` at the beginning of the string at ``path``, which may lead into base64."""
    if BASE64 in path:
        outer = path[: path.index(BASE64)]
        start, end = locate(body, [outer])[0][outer]
        document = base64.b64decode(body[start + 1 : end - 1])
        rest = path[len(outer) + 1 :]
        inner = insert(document, rest, text) if rest else text.encode() + document
        return body[: start + 1] + base64.b64encode(inner) + body[end - 1 :]
    values, _ = locate(body, [path])
    start, _ = values[path]
    assert body[start : start + 1] == b'"'
    return body[: start + 1] + text.encode() + body[start + 1 :]


_tokens: dict[str, str] = {}


def token(line: Line) -> str:
    """The token planted in this exchange."""
    return _tokens.setdefault(line["id"], github_token())
