"""Pictures and sounds are counted by the providers' tables, from headers only."""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from typing import Any

import pytest

from penstock import wire
from penstock.destinations import identify
from penstock.exchange import Exchange, HttpRequest
from penstock.meter.estimator import Estimator
from penstock.meter.media import NO_MEDIA, Media, media_of
from penstock.meter.media_headers import Size, document_pages, picture_size, sound_seconds

CHAT = "/v1/chat/completions"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def png(width: int, height: int) -> bytes:
    """Signature, IHDR, IDAT (of the first rows), IEND."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sum_of = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_of)

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * min(1000, ((width + 7) // 8 + 1) * height))
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def jpeg(width: int, height: int, before: int = 0) -> bytes:
    """The start of one, with ``before`` bytes of metadata before its size."""
    app0 = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    metadata = b""
    while before > 0:
        piece = min(before, 65_533)
        metadata += b"\xff\xe1" + struct.pack(">H", piece + 2) + b"x" * piece
        before -= piece
    tables = b"\xff\xc4\x00\x05\x00\x00\x00"  # C4 is a Huffman table, not a frame
    frame = b"\xff\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + b"\0" * 9
    return b"\xff\xd8" + app0 + metadata + tables + frame + b"\xff\xda"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;"


def webp(kind: str, width: int, height: int) -> bytes:
    if kind == "VP8X":
        sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = b"VP8X\x0a\0\0\0\0\0\0\0" + sizes
    elif kind == "VP8L":
        bits = (width - 1) | (height - 1) << 14
        body = b"VP8L\x0a\0\0\0\x2f" + struct.pack("<I", bits) + b"\0" * 5
    else:
        body = b"VP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    "content",
    [
        png(1024, 683),
        jpeg(1024, 683),
        jpeg(1024, 683, before=200_000),  # camera metadata, a preview
        gif(1024, 683),
        webp("VP8X", 1024, 683),
        webp("VP8L", 1024, 683),
        webp("VP8 ", 1024, 683),
    ],
)
def test_a_picture_says_its_size(content: bytes) -> None:
    """In each format, also cut off after its header, and in the URL alphabet."""
    assert picture_size(encoded(content)) == Size(1024, 683)
    assert picture_size(base64.urlsafe_b64encode(content + b"\0" * 9).decode()) == Size(1024, 683)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        png(100, 100)[:20],
        jpeg(100, 100)[:32],
        jpeg(100, 100, before=600_000),  # behind more than anybody's metadata
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 100_000,  # more segments than a picture has
        b"\xff\xd8" + b"\xff\xe1\x00\x00" * 1000,  # a segment shorter than its own length
        b"\xff\xd8" + b"\xff" * 100_000,
        gif(0, 100),
        gif(65535, 65535),
        webp("VP8 ", 100, 100)[:25],
        b"RIFF\0\0\0\0WEBPVP9 ",
        b"<svg width='100' height='100'/>",
    ],
)
def test_what_cannot_be_read_has_no_size(content: bytes) -> None:
    """Quickly, whatever it is."""
    began = time.process_time()
    assert picture_size(encoded(content)) is None
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize("text", ["\x00\xff", "not base64 at all!", "ä" * 100, "=" * 5000])
def test_text_that_is_no_base64_has_no_size(text: str) -> None:
    assert picture_size(text) is None


def test_sounds_have_their_seconds() -> None:
    """A WAV by its own byte rate, others by their size and a common rate."""
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    wav = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + form + b"data\0\0\0\0" + b"\0" * 64_000
    assert sound_seconds(encoded(wav), "audio/wav") == pytest.approx(2.0, abs=0.01)
    assert sound_seconds(encoded(b"ID3" + b"\0" * 159_997), "") == pytest.approx(10.0, abs=0.01)
    assert sound_seconds(encoded(b"\0" * 96_000), "audio/pcm16") == pytest.approx(2.0, abs=0.01)
    rateless = wav.replace(struct.pack("<I", 32_000), b"\0\0\0\0")
    assert sound_seconds(encoded(rateless), "audio/wav") < 2
    assert sound_seconds("A" * 500_000_000, "audio/ogg") <= 34_200


def test_documents_have_pages() -> None:
    """Those that can be seen, else by size."""
    pdf = b"%PDF-1.4\n" + b"1 0 obj <</Type /Page >> endobj\n2 0 obj <</Type/Page>>\n" * 3
    assert document_pages(encoded(pdf + b"3 0 obj <</Type /Pages>>")) == 6
    assert document_pages(encoded(b"%PDF-1.7" + b"\0" * 1_000_000)) == 20
    assert document_pages("") == 1


# --------------------------------------------------------------------------- the tables


def read(host: str, path: str, body: dict[str, Any]) -> Exchange:
    request = HttpRequest(
        "POST", "https", host, 443, path, {"content-type": "application/json"},
        json.dumps(body).encode(),
    )  # fmt: skip
    return wire.read_request(request, identify(host, 443, path))


def chat(model: str, picture: bytes | str, detail: str = "auto") -> Exchange:
    url = picture
    if isinstance(picture, bytes):
        url = f"data:image/png;base64,{encoded(picture)}"
    part = {"type": "image_url", "image_url": {"url": url, "detail": detail}}
    body = {"model": model, "messages": [{"role": "user", "content": [part]}]}
    return read("api.openai.com", CHAT, body)


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # The examples of OpenAI's guide.
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-4.1-mini", (1024, 1024), "auto", 1659),  # 1024 patches, times 1.62
        ("gpt-4.1-mini", (1800, 2400), "auto", 2353),  # 1452 patches, times 1.62
        ("gpt-4o-mini", (128, 64), "high", 8500),
        ("gpt-5-mini", (32, 32), "auto", 2),
        ("gpt-5-mini", (20_000, 20_000), "auto", 2465),  # 39 by 39
        ("gpt-5-mini", (20_000, 1), "auto", 1013),
        ("gpt-5.1", (512, 512), "auto", 210),
        ("o3", (512, 512), "high", 225),
        ("o4-mini-2025-04-16", (128, 64), "auto", 14),
    ],
)
def test_openais_tables(model: str, size: tuple[int, int], detail: str, tokens: int) -> None:
    assert media_of(chat(model, png(*size), detail)).tokens == tokens


def claude(model: str, size: tuple[int, int]) -> Exchange:
    source = {"type": "base64", "media_type": "image/png", "data": encoded(png(*size))}
    image = {"type": "image", "source": source}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": [result]}]}
    return read("api.anthropic.com", "/v1/messages", body)


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("claude-sonnet-4-5", (200, 200), 54),  # the guide's examples
        ("claude-sonnet-4-5", (1000, 1000), 1334),
        ("claude-sonnet-4-5", (1092, 1092), 1590),
        ("claude-sonnet-4-5", (4000, 4000), 1600),  # scaled down
        ("claude-opus-4-7", (1920, 1080), 2765),
        ("claude-opus-4-7", (8000, 8000), 4784),
    ],
)
def test_anthropics_table(model: str, size: tuple[int, int], tokens: int) -> None:
    """Also inside a tool's result: a screenshot, what agents send most."""
    assert media_of(claude(model, size)).tokens == tokens


def gemini(model: str, *parts: dict[str, Any]) -> Exchange:
    path = f"/v1beta/models/{model}:generateContent"
    return read("generativelanguage.googleapis.com", path, {"contents": [{"parts": list(parts)}]})


def inline(mime_type: str, content: bytes) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": encoded(content)}}


def test_geminis_table() -> None:
    """Tiles, a fixed budget for Gemini 3, 32 tokens a second of sound, 258 for a page."""

    def tokens(model: str, *parts: dict[str, Any]) -> int:
        return media_of(gemini(model, *parts)).tokens

    assert tokens("gemini-2.5-pro", inline("image/png", png(384, 384))) == 258
    assert tokens("gemini-2.5-pro", inline("image/png", png(960, 540))) == 6 * 258
    assert tokens("gemini-2.5-pro", inline("image/png", png(3000, 3000))) == 16 * 258
    assert tokens("gemini-3-pro-preview", inline("image/png", png(100, 100))) == 1120
    assert tokens("gemini-2.5-pro", inline("audio/pcm16", b"\0" * 480_000)) == 320
    assert tokens("gemini-2.5-pro", inline("application/pdf", b"%PDF" + b"\0" * 99_999)) == 516
    assert tokens("gemini-2.5-pro", inline("video/mp4", b"\0" * 250_000)) == 527
    both = inline("image/png", png(100, 100)), inline("image/png", png(100, 100))
    assert tokens("gemini-2.5-pro", *both) == 516


def test_sounds_of_openai() -> None:
    """A token for each tenth of a second."""
    data = encoded(b"\0" * 480_000)
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "pcm16"}}
    body = {"model": "gpt-4o-audio", "messages": [{"role": "user", "content": [part]}]}
    exchange = read("api.openai.com", CHAT, body)
    assert media_of(exchange) == Media(100, len(data))


def test_bedrock_and_ollama_say_it_their_way() -> None:
    image = {"image": {"format": "png", "source": {"bytes": encoded(png(750, 1000))}}}
    host, path = "bedrock-runtime.us-east-1.amazonaws.com", "/model/us.anthropic.claude-3/converse"
    body: dict[str, Any] = {"messages": [{"role": "user", "content": [image]}]}
    assert media_of(read(host, path, body)).tokens == 1000
    body = {"messages": [{"role": "user", "content": "see", "images": [encoded(png(75, 100))]}]}
    local = read("ollama.example", "/api/chat", {"model": "llava", **body})
    assert media_of(local).tokens == 10


def test_a_picture_by_reference_counts_as_a_large_one() -> None:
    """So does one that cannot be read."""
    assert media_of(chat("gpt-4o", "https://example.org/a.png")).tokens == 765
    assert media_of(chat("gpt-4o", "data:image/png;base64,AAAA")).tokens == 765


def test_without_media_there_is_nothing_to_count() -> None:
    """Text that looks like a data URL is text."""
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "data:image/png;base64,A"}]}
    assert media_of(read("api.openai.com", CHAT, body)) is NO_MEDIA


def test_a_flood_of_pictures_is_bounded() -> None:
    """Those beyond the bound cost what the others do, and are not read."""
    tiny = {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{encoded(png(9, 9))}"},
    }
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": [tiny] * 3000}]}
    exchange = read("api.openai.com", CHAT, body)
    began = time.process_time()
    assert media_of(exchange).tokens == 3000 * 210
    assert time.process_time() - began < 1.0


# --------------------------------------------------------------------------- the estimate


def test_pictures_do_not_spoil_what_is_known_of_text() -> None:
    """A megabyte of picture is not a quarter of a million tokens, before and after learning."""
    estimator = Estimator()
    picture = Media(1000, 1_000_000)
    first = estimator.estimate("shop", "gpt-4o", 1_002_000, None, picture)
    assert first.input_tokens == 1500
    for _ in range(20):
        estimator.learn("shop", "gpt-4o", 1_002_000, 1400, 50, picture)
    assert estimator.estimate("shop", "gpt-4o", 2000, None).input_tokens == pytest.approx(400, 0.02)
    assert estimator.estimate("shop", "gpt-4o", 10, None, picture).input_tokens == 1000


def test_a_table_that_is_wrong_never_makes_the_text_free() -> None:
    """The provider charged less than the table says: the ratio has a floor."""
    estimator = Estimator()
    for _ in range(20):
        estimator.learn("shop", "gpt-4o", 3000, 10, 50, Media(1000, 1000))
    assert estimator.estimate("shop", "gpt-4o", 2000, None).input_tokens >= 1
