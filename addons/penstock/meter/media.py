"""What pictures, sounds, films and documents of a request cost, by the providers' tables.

Their tokens do not follow from their bytes, so they are counted apart: the estimator's ratio
is about what is left. The formulas are those of the providers' guides (docs/limits.md names
them); a picture that is only referred to counts as a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from penstock.exchange import Exchange, Leaf
from penstock.meter.media_headers import (
    Size,
    document_pages,
    picture_size,
    sound_seconds,
    video_seconds,
)

# Providers take up to 3600 pictures in a call; what comes after costs as the mean of these.
COUNTED_MAX = 1000
# What is not known is taken for a screen's picture.
UNKNOWN = Size(1600, 1200)


@dataclass(slots=True, frozen=True)
class Media:
    """What the media of a request are expected to cost, and the bytes of the body they are."""

    tokens: int = 0
    encoded_bytes: int = 0


NO_MEDIA = Media()


@dataclass(slots=True, frozen=True)
class Table:
    """One provider's rates. ``picture(size, detail)`` is in tokens."""

    picture: Callable[[Size, str], int]
    sound_per_second: float
    film_per_second: float
    page: int


def media_of(exchange: Exchange) -> Media:
    """The media of a request; NO_MEDIA, at once, when it has none."""
    kinds = [
        part
        for message in exchange.messages
        for part in message.parts
        if part.kind in ("blob", "uri")
    ]
    if not kinds:
        return NO_MEDIA
    table = table_of(exchange)
    tokens = encoded = counted = mean = 0
    for leaf, mime_type, text in blobs(exchange):
        encoded += len(leaf.text)
        if counted < COUNTED_MAX:
            tokens += tokens_of(table, mime_type, text, detail_of(exchange.document, leaf))
            counted += 1
            mean = tokens // counted
        else:
            tokens += mean
    for part in kinds:
        if part.kind == "uri" and (part.mime_type or "").startswith("image"):
            tokens += table.picture(UNKNOWN, "auto")
    return Media(tokens, encoded)


def blobs(exchange: Exchange) -> Iterator[tuple[Leaf, str, str]]:
    """The encoded leaves with their media type ("" where only the bytes tell) and base64 text."""
    for leaf in exchange.leaves:
        text = leaf.text
        if text.startswith("data:"):
            head, comma, rest = text.partition(",")
            if comma and head.endswith(";base64"):
                yield leaf, head[5:].partition(";")[0].lower(), rest
        elif leaf.path and (leaf.blob or leaf.path[-2:] == ("input_audio", "data")):
            yield leaf, type_beside(exchange.document, leaf), text


def tokens_of(table: Table, mime_type: str, text: str, detail: str) -> int:
    """One medium's tokens. Without a type it is a picture, as most are."""
    if mime_type.startswith("audio"):
        return ceil(sound_seconds(text, mime_type) * table.sound_per_second)
    if mime_type.startswith("video"):
        return ceil(video_seconds(text) * table.film_per_second)
    if mime_type.endswith("/pdf"):
        return document_pages(text) * table.page
    return table.picture(picture_size(text) or UNKNOWN, detail)


def parent_of(document: Any, leaf: Leaf, up: int = 1) -> dict[str, Any]:
    """The object a leaf stands in; empty where the body is not what the path says."""
    for step in leaf.path[:-up]:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return {}
    return document if isinstance(document, dict) else {}


def type_beside(document: Any, leaf: Leaf) -> str:
    """The media type that stands beside the bytes, in the words of the APIs."""
    holder = parent_of(document, leaf)
    for name in ("media_type", "mimeType", "mime_type"):
        if isinstance(holder.get(name), str):
            return str(holder[name]).lower()
    if leaf.path[-2:-1] == ("input_audio",):
        return f"audio/{holder.get('format', '')}"
    for kind in ("audio", "video"):
        if kind in leaf.path:
            return kind
    if "document" in leaf.path:  # Bedrock: {document: {format: pdf, source: {bytes}}}
        return f"application/{parent_of(document, leaf, 2).get('format', '')}"
    return ""


def detail_of(document: Any, leaf: Leaf) -> str:
    """OpenAI's ``detail`` of a picture: low, high or auto."""
    found = parent_of(document, leaf).get("detail")
    return found if isinstance(found, str) else "auto"


# --------------------------------------------------------------------------- OpenAI


def fitted(size: Size, longest: float) -> tuple[float, float]:
    """Scaled down so that no edge is longer."""
    scale = min(1.0, longest / max(size.width, size.height))
    return size.width * scale, size.height * scale


def tiles(base: int, tile: int) -> Callable[[Size, str], int]:
    """Fitted into 2048, the short side to 768, then squares of 512."""

    def picture(size: Size, detail: str) -> int:
        if detail == "low":
            return base
        width, height = fitted(size, 2048)
        scale = min(1.0, 768 / min(width, height))
        return base + tile * ceil(width * scale / 512) * ceil(height * scale / 512)

    return picture


def patches(multiplier: float, most: int = 1536) -> Callable[[Size, str], int]:
    """Squares of 32, times the model's factor. A larger picture is scaled down to ``most``.

    Scaled so that the side that has to give way more is a whole number of squares.
    """

    def picture(size: Size, detail: str) -> int:
        across, down = size.width / 32, size.height / 32
        if ceil(across) * ceil(down) > most:
            scale = sqrt(most / (across * down))
            across, down = across * scale, down * scale
            whole = min(max(1, int(across)) / across, max(1, int(down)) / down)
            # Rounded: what is a whole number on paper is a hair more in floating point.
            across, down = round(across * whole, 6), round(down * whole, 6)
        return ceil(min(most, ceil(across) * ceil(down)) * multiplier)

    return picture


# By the beginning of the model's name, the longest that fits.
_OPENAI: dict[str, Callable[[Size, str], int]] = {
    "": tiles(85, 170),
    "gpt-4o-mini": tiles(2833, 5667),
    "gpt-5": tiles(70, 140),
    "gpt-5-mini": patches(1.62),
    "gpt-5-nano": patches(2.46),
    "gpt-4.1-mini": patches(1.62),
    "gpt-4.1-nano": patches(2.46),
    "o4-mini": patches(1.72),
    "o1": tiles(75, 150),
    "o3": tiles(75, 150),
    "computer-use": tiles(65, 129),
}


def openai_picture(model: str) -> Callable[[Size, str], int]:
    """The formula of an OpenAI model."""
    fitting = max((name for name in _OPENAI if model.startswith(name)), key=len)
    return _OPENAI[fitting]


# --------------------------------------------------------------------------- Anthropic, Google

# Models up to 4.6 scale to 1568 pixels and 1600 tokens; later ones to 2576 and 4784.
_OLDER_CLAUDES = ("claude-2", "claude-3", "-4-0", "-4-1", "-4-2025", "-4-5", "-4-6", "-4@")


def by_area(longest: int, most: int) -> Callable[[Size, str], int]:
    """A token for 750 pixels."""

    def picture(size: Size, detail: str) -> int:
        width, height = fitted(size, longest)
        return min(most, ceil(width * height / 750))

    return picture


def gemini_picture(size: Size, detail: str) -> int:
    """258 for a small picture, else 258 for each tile; the tile follows the shorter side."""
    if size.width <= 384 and size.height <= 384:
        return 258
    unit = min(768, max(256, int(min(size.width, size.height) / 1.5)))
    return 258 * ceil(size.width / unit) * ceil(size.height / unit)


def gemini_3_picture(size: Size, detail: str) -> int:
    """A fixed budget: ``media_resolution`` as it is when nobody sets it."""
    return 1120


def table_of(exchange: Exchange) -> Table:
    """The rates for the model, whoever serves it."""
    model = (exchange.model or "").lower().rpartition("/")[2]
    if "gemini" in model:
        newer = "gemini-3" in model
        picture = gemini_3_picture if newer else gemini_picture
        return Table(picture, 32, 70 if newer else 263, 560 if newer else 258)
    if "claude" in model:
        older = any(name in model for name in _OLDER_CLAUDES)
        return Table(by_area(1568, 1600) if older else by_area(2576, 4784), 10, 263, 3000)
    if exchange.api.startswith("openai"):
        return Table(openai_picture(model), 10, 263, 2000)
    return Table(by_area(1568, 1600), 25, 263, 2000)
