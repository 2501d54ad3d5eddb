"""The text in files: PDF, office documents, and what pictures say beside their pixels.

PDF is read by pypdf (extra ``documents``) in a process of its own, which has a time and a
memory it cannot exceed: a hostile file costs that process and nothing else. The rest is
read here with the standard library, bounded in size, number and depth, without an XML
parser: an entity is text like any other. Pixels are not read.
"""

from __future__ import annotations

import html
import importlib.util
import io
import json
import re
import subprocess
import sys
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from hashlib import blake2b

from penstock.detect.files.blobs import decoded, kinds
from penstock.detect.files.images import image_texts
from penstock.exchange import Exchange, Leaf

# Files read in one request; a conversation with more pictures is looked at in part and refused.
FILES_MAX = 200
# Bytes of one file, and of all its parts unpacked: a report of a thousand pages has some 20 MB.
FILE_BYTES_MAX = 32 * 1024 * 1024
UNPACKED_BYTES_MAX = 64 * 1024 * 1024
# Members of an archive; a presentation with a thousand slides has some 3000.
MEMBERS_MAX = 5000
# A PDF's own process: starting it takes 0.4 s, a hundred full pages 2 s, a thousand 13 s.
PDF_SECONDS = 15.0
# Texts of files that come again with each turn of a conversation, by hash.
KEPT_FILES_MAX = 32
KEPT_CHARACTERS_MAX = 8 * 1024 * 1024

PDF = "application/pdf"
_OLE = "application/x-ole-storage"
_MARKUP = re.compile(r"<([^<>]*)>|([^<]+)|<")
# Ends of what stands apart: paragraphs, cells, rows, shared strings, list items.
_APART = re.compile(
    r"/(?:\w+:)?(?:p|h|si|c|v|row|tr|t[cd]|table-cell|list-item|tab|br)\b|(?:\w+:)?(?:tab|br)\b"
)
_TARGET = re.compile(r'\b(?:Target|href)="([^"]*)"')
# Parts of an office file that hold no words of its author.
_LEFT_OUT = re.compile(
    r"(?:^|/)(?:theme|styles|settings|fontTable|webSettings|numbering)[^/]*\.xml$"
)


class UnreadableError(Exception):
    """A file that may hold text nobody here can read; the message says why."""


def has_pdf_reader() -> bool:
    """True when the extra ``documents`` is installed."""
    return importlib.util.find_spec("pypdf") is not None


def document_leaves(exchange: Exchange, body: bytes) -> Iterator[Leaf]:
    """The texts of a request's files, none of them editable.

    Raises:
        UnreadableError: a file is encrypted, broken, or larger than what is read.
    """
    for count, (leaf, raw) in enumerate(_files(exchange, body)):
        if count >= FILES_MAX:
            raise UnreadableError(f"more than {FILES_MAX} files")
        for text in texts_of(raw):
            if text.strip():
                yield Leaf(leaf.path, text, "document", editable=False)


def _files(exchange: Exchange, body: bytes) -> Iterator[tuple[Leaf, bytes]]:
    for leaf in exchange.leaves:
        if leaf.span is not None:
            if leaf.blob:
                yield leaf, body[leaf.span[0] : leaf.span[1]]
        elif leaf.blob or leaf.text.startswith("data:"):
            head, _, coded = leaf.text.rpartition(",")
            yield leaf, decoded(coded if head.startswith("data:") else leaf.text)


def texts_of(raw: bytes) -> list[str]:
    """The texts of one file; an empty list where its kind has none."""
    found = kinds(raw[:4096])
    if _OLE in found:
        raise UnreadableError("an office file in the old binary format")
    reader = _reader(found)
    if reader is None:
        return []
    if len(raw) > FILE_BYTES_MAX:
        raise UnreadableError(f"a file of more than {FILE_BYTES_MAX} bytes")
    return _remembered(raw, reader)


def _reader(found: frozenset[str]) -> Callable[[bytes], list[str]] | None:
    if PDF in found:
        return pdf_texts
    if "application/zip" in found:
        return office_texts
    return image_texts if any(name.startswith("image/") for name in found) else None


_kept: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()
_lock = threading.Lock()


def _remembered(raw: bytes, reader: Callable[[bytes], list[str]]) -> list[str]:
    """A conversation sends its files with each turn: they are read once."""
    key = blake2b(raw, digest_size=16).digest()
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return list(_kept[key])
    texts = reader(raw)
    with _lock:
        _kept[key] = tuple(texts)
        while len(_kept) > KEPT_FILES_MAX or (
            sum(len(text) for kept in _kept.values() for text in kept) > KEPT_CHARACTERS_MAX
        ):
            _kept.popitem(last=False)
    return texts


def pdf_texts(raw: bytes) -> list[str]:
    """Text layer, form fields, notes and description of a PDF."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "penstock.detect.files.pdf_reader"],
            input=raw,
            capture_output=True,
            timeout=PDF_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadableError(f"reading a PDF takes more than {PDF_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise UnreadableError("a PDF that is encrypted, broken or too large to be read")
    texts: list[str] = json.loads(done.stdout)
    return texts


def office_texts(raw: bytes) -> list[str]:
    """Words of docx, xlsx, pptx and OpenDocument files, one text for each part.

    Comments, notes, deleted text and the targets of links are words too. Other archives
    have none: refuse them by their type.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return [text for name, data in _members(archive) if (text := _words(name, data))]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "encrypted" not in str(error):
            raise
        raise UnreadableError("an office file that is encrypted or broken") from None


def _members(archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    members = archive.infolist()
    names = {member.filename for member in members}
    if not names & {"[Content_Types].xml", "content.xml", "mimetype"}:
        return
    if len(members) > MEMBERS_MAX:
        raise UnreadableError(f"an archive of more than {MEMBERS_MAX} files")
    left = UNPACKED_BYTES_MAX
    for member in members:
        if not member.filename.endswith((".xml", ".rels")) or _LEFT_OUT.search(member.filename):
            continue
        with archive.open(member) as part:
            data = part.read(left + 1)  # what the directory says of its size may be a lie
        left -= len(data)
        if left < 0:
            raise UnreadableError(
                f"an archive that unpacks to more than {UNPACKED_BYTES_MAX} bytes"
            )
        yield member.filename, data


def _words(name: str, data: bytes) -> str:
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    if name.endswith(".rels"):
        targets = (html.unescape(target) for target in _TARGET.findall(text))
        return "\n".join(target for target in targets if ":" in target)
    pieces: list[str] = []
    for match in _MARKUP.finditer(text):
        if match[2] is not None:
            pieces.append(html.unescape(match[2]))
        elif match[1] and _APART.match(match[1]):
            pieces.append("\n")
    return "".join(pieces)
