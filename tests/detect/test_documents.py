"""Files in requests: what they are, and what they say; hostile ones cost nothing but a refusal."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from typing import Any

import pypdf
import pytest

from penstock.destinations import identify
from penstock.detect.files import documents
from penstock.detect.files.blobs import blobs_in, kinds
from penstock.detect.files.documents import UnreadableError, document_leaves, texts_of
from penstock.exchange import Exchange, HttpRequest
from penstock.wire import read_request

PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 3 0 R /Resources "
    b"<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
)
CARD = "the card is 4111 1111 1111 1111"


def pdf(text: str = CARD, pages: int = 1, content: bytes | None = None) -> bytes:
    """A PDF of one line a page, written by hand (ISO 32000-1, annex H.3)."""
    drawn = content or f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    kids = " ".join(f"{4 + number} 0 R" for number in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        *[PAGE] * pages,
    ]
    out, places = b"%PDF-1.7\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    start = out.rindex(b"xref")
    return out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, start)


def written(**options: Any) -> bytes:
    """The same by pypdf: described, with a note, encrypted."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("nothing")))
    writer.add_metadata({"/Author": options.get("author", "nobody")})
    if "password" in options:
        writer.encrypt(options["password"], algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def archive(parts: dict[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(name, data)
    return out.getvalue()


def docx(body: str, **more: str) -> bytes:
    parts = {"[Content_Types].xml": "<Types/>", "word/document.xml": f"<w:body>{body}</w:body>"}
    return archive(parts | {name.replace("__", "/") + ".xml": text for name, text in more.items()})


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def exif(tag: int, text: bytes) -> bytes:
    entry = struct.pack("<HHII", tag, 2, len(text), 26)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0\0\0\0" + text


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    made = b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(d) + 2) + d for m, d in segments)
    return b"\xff\xd8" + made + b"\xff\xda\0\2pixels"


TYPES = "[Content_Types].xml"
RUNS = "<w:p><w:r><w:t>the card is 4111 1111</w:t></w:r><w:r><w:t> 1111 1111</w:t></w:r></w:p>"
XMP = f'<x:xmpmeta><rdf:li dc:creator="{CARD}">x</rdf:li></x:xmpmeta>'.encode()


@pytest.mark.parametrize(
    "raw",
    [
        pdf(),
        written(author=CARD),
        written(author=CARD, password=""),
        docx(RUNS),
        docx("<w:p><w:del><w:delText>the card is 4111 1111 1111 1111</w:delText></w:del></w:p>"),
        docx("", word__comments=f"<w:p><w:t>{CARD}</w:t></w:p>"),
        docx("", docProps__core=f"<dc:creator>{CARD}</dc:creator>"),
        archive({TYPES: "", "xl/sharedStrings.xml": f"<si><t>{CARD}</t></si>"}),
        archive({TYPES: "", "ppt/slides/slide1.xml": f"<a:p><a:t>{CARD}</a:t></a:p>"}),
        archive({"mimetype": "", "content.xml": f"<text:p>{CARD}</text:p>"}),
        png(chunk(b"tEXt", b"Comment\0" + CARD.encode())),
        png(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(CARD.encode()))),
        png(chunk(b"iTXt", b"Comment\0\1\0en\0\0" + zlib.compress(CARD.encode()))),
        png(chunk(b"eXIf", exif(0x010E, CARD.encode()))),
        jpeg((0xE0, b"JFIF\0"), (0xFE, CARD.encode())),
        jpeg((0xE1, b"Exif\0\0" + exif(0x010E, CARD.encode()))),
        jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        jpeg((0xED, b"Photoshop 3.0\0\x1c\x02\x78" + struct.pack(">H", len(CARD)) + CARD.encode())),
        b"RIFF\0\0\0\0WEBPXMP " + struct.pack("<I", len(XMP)) + XMP,
        b"GIF89a\x01\0\x01\0\0\0\0\x21\xfe" + bytes([len(CARD)]) + CARD.encode() + b"\0;",
    ],
)  # fmt: skip
def test_what_a_file_says(raw: bytes) -> None:
    assert CARD in "\n".join(texts_of(raw))


def request(host: str, path: str, body: Any) -> tuple[Exchange, bytes]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "multipart/form-data; boundary=X" if isinstance(body, bytes) else "application/json"
    asked = HttpRequest("POST", "https", host, 443, path, {"content-type": kind}, raw)
    return read_request(asked, identify(host, 443, path)), raw


CODED = base64.b64encode(pdf()).decode()
URL = f"data:application/pdf;base64,{CODED}"
UPLOAD = (
    b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n%s\r\n--X--\r\n'
)


def turn(part: Any) -> Any:
    return {"model": "m", "messages": [{"role": "user", "content": [part]}]}


DOCUMENT = {"type": "base64", "media_type": "application/pdf", "data": CODED}
INPUT = {"type": "input_file", "filename": "a.pdf", "file_data": URL}
INLINE = {"inlineData": {"mimeType": "application/pdf", "data": CODED}}
GOOGLE, AWS = "generativelanguage.googleapis.com", "bedrock-runtime.us-east-1.amazonaws.com"
CALLS = [
    ("api.openai.com", "/v1/chat/completions",
     turn({"type": "file", "file": {"filename": "a.pdf", "file_data": URL}})),
    ("api.openai.com", "/v1/responses",
     {"model": "m", "input": [{"role": "user", "content": [INPUT]}]}),
    ("api.anthropic.com", "/v1/messages", turn({"type": "document", "source": DOCUMENT})),
    (GOOGLE, "/v1beta/models/m:generateContent", {"contents": [{"parts": [INLINE]}]}),
    (AWS, "/model/m/converse",
     turn({"document": {"format": "pdf", "name": "a", "source": {"bytes": CODED}}})),
    ("api.openai.com", "/v1/files", UPLOAD % (pdf() + b"\xff\0")),
]  # fmt: skip


@pytest.mark.parametrize(("host", "path", "body"), CALLS, ids=[call[1] for call in CALLS])
def test_files_of_every_api_are_found_and_read(host: str, path: str, body: Any) -> None:
    exchange, raw = request(host, path, body)
    leaves = list(document_leaves(exchange, raw))
    assert any(CARD in leaf.text for leaf in leaves)
    assert all(leaf.zone == "document" and not leaf.editable for leaf in leaves)
    blobs = list(blobs_in(exchange, raw))
    size = len(pdf())
    assert any(
        "application/pdf" in blob.types and size <= blob.size_bytes <= size + 2 for blob in blobs
    )


def test_what_a_file_is_shows_whatever_it_is_called() -> None:
    picture = {"type": "base64", "media_type": "image/png", "data": CODED}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "image", "source": picture}]}],
    }
    exchange, raw = request("api.anthropic.com", "/v1/messages", body)
    named = frozenset().union(*(blob.types for blob in blobs_in(exchange, raw)))
    assert named == {"image/png", "application/pdf"}
    assert "application/vnd.openxmlformats-officedocument.wordprocessingml.document" in kinds(
        docx("")
    )
    assert kinds(b"plain words") == frozenset()
    assert CARD in "".join(texts_of(b"\nwords before it\n" + pdf()))


def bomb() -> bytes:
    return archive({"[Content_Types].xml": "", "word/document.xml": b"\0" * (70 * 1024 * 1024)})


def lying() -> bytes:
    """A directory that says each part is small."""
    data = bytearray(bomb())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    return bytes(data)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(written(password="secret"), id="encrypted"),
        pytest.param(pdf()[:80], id="cut"),
        pytest.param(b"%PDF-1.7\n" + b"<<" * 100_000, id="nested"),
        pytest.param(bomb(), id="bomb"),
        pytest.param(lying(), id="lying"),
        pytest.param(docx(RUNS)[:200], id="cut archive"),
        pytest.param(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, id="old office file"),
    ],
)
@pytest.mark.timeout(60)
def test_a_file_that_cannot_be_read_says_so(raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        texts_of(raw)


def test_a_pdf_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PDF_SECONDS", 0.05)
    with pytest.raises(UnreadableError, match="takes more than"):
        texts_of(pdf("slow", pages=200))


@pytest.mark.parametrize(
    "raw",
    [
        docx('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><w:p>&b;&b;</w:p>'),
        docx("<w:t>" * 100_000),
        docx("<" * 500_000),
        png(chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 50_000_000))),
        png(b"\xff\xff\xff\xfftEXt"),
        png(chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + b"\x69\x87\4\0\1\0\0\0\x08\0\0\0" * 5000)),
        jpeg((0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")) + b"\xff" * 100_000,
        jpeg((0xED, b"\x1c\x02\0\x80\0" * 13_000)),
        b"RIFF\0\0\0\0WEBPEXIF\xff\xff\xff\xff",
        b"GIF89a" + b"\x21\xfe\xff" * 20_000,
        b"II*\0\x08\0\0\0\x05\0",
        archive({"a.txt": CARD}),
        b"MZ" + b"\0" * 100,
    ],
)
@pytest.mark.timeout(20)
def test_hostile_files_end_quickly(raw: bytes) -> None:
    assert sum(map(len, texts_of(raw))) <= 8 * 1024 * 1024


def test_a_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = docx(RUNS + "<w:p>once</w:p>")
    first = texts_of(raw)
    monkeypatch.setattr(documents, "office_texts", lambda raw: pytest.fail("read again"))
    assert texts_of(raw) == first
    monkeypatch.setattr(documents, "KEPT_FILES_MAX", 2)
    for number in range(4):
        texts_of(png(chunk(b"tEXt", b"n\0%d" % number)))
    assert len(documents._kept) == 2


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "FILES_MAX", 0)
    exchange, raw = request(*CALLS[0])
    with pytest.raises(UnreadableError, match="more than"):
        list(document_leaves(exchange, raw))
