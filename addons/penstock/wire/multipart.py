"""multipart/form-data: fields and uploaded files at their byte offsets (RFC 7578, RFC 2046).

Text fields and uploads that are text become leaves with a span, so they can be edited in
place. Binary uploads are counted and left alone. Never raises; nothing is re-encoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from penstock.exchange import Leaf, Zone

# Real uploads have a handful of fields; a body of nothing but boundaries is an attack.
MAX_FIELDS = 1000
# RFC 2046 allows 70 characters.
MAX_BOUNDARY_LENGTH = 70
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^;,\s]{1,200}))', re.IGNORECASE)
_PARAMETER = re.compile(
    r';\s*(name|filename)\*?=(?:"((?:[^"\\]|\\.)*+)"|([^;\s]*+))', re.IGNORECASE
)


@dataclass(slots=True)
class FormField:
    """One field. ``leaf.text`` is empty and not editable for binary content."""

    name: str
    filename: str | None
    content_type: str | None
    size_bytes: int
    leaf: Leaf


@dataclass(slots=True)
class Form:
    """The fields of a form and why it could not be read whole."""

    fields: list[FormField] = field(default_factory=list)
    problem: str | None = None

    def value(self, name: str) -> str | None:
        """The text of the first field called ``name`` that is no file."""
        for candidate in self.fields:
            if candidate.name == name and candidate.filename is None:
                return candidate.leaf.text
        return None


def read_multipart(body: bytes, content_type: str, zone: Zone = "other") -> Form:
    """The fields of a multipart body."""
    match = _BOUNDARY.search(content_type)
    boundary = (match[1] or match[2]) if match else ""
    if not boundary or len(boundary) > MAX_BOUNDARY_LENGTH:
        return Form(problem="multipart without a boundary")
    mark = b"--" + boundary.encode("utf-8", "replace")
    form = Form()
    at = body.find(mark)
    while at >= 0 and body[at + len(mark) : at + len(mark) + 2] != b"--":
        start = body.find(b"\n", at)
        head_end, content = _head(body, start + 1) if start >= 0 else (-1, -1)
        end = body.find(b"\n" + mark, max(content - 1, 0)) if content >= 0 else -1
        if content < 0 or end < 0:
            form.problem = "multipart ends too early"
            return form
        if len(form.fields) >= MAX_FIELDS:
            form.problem = f"more than {MAX_FIELDS} form fields"
            return form
        stop = max(content, end - 1 if body[end - 1 : end] == b"\r" else end)
        form.fields.append(_field(body[start + 1 : head_end], body, (content, stop), zone))
        at = end + 1
    if at < 0:
        form.problem = "multipart without its boundary"
    return form


def _head(body: bytes, start: int) -> tuple[int, int]:
    """Where the part's headers end and its content begins; (-1, -1) when nowhere."""
    for blank in (b"\r\n", b"\n"):
        if body.startswith(blank, start):
            return start, start + len(blank)
    ends = [
        (at, at + len(gap)) for gap in (b"\r\n\r\n", b"\n\n") if (at := body.find(gap, start)) >= 0
    ]
    return min(ends, default=(-1, -1))


def _field(head: bytes, body: bytes, span: tuple[int, int], zone: Zone) -> FormField:
    name, filename, content_type = "", None, None
    for line in head.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition":
            for parameter in _PARAMETER.finditer(value):
                text = parameter[2] if parameter[2] is not None else parameter[3]
                if parameter[1].lower() == "name":
                    name = text
                else:
                    filename = text
        elif key.strip().lower() == "content-type":
            content_type = value.strip()
    return FormField(name, filename, content_type, span[1] - span[0], _leaf(body, span, zone))


def _leaf(body: bytes, span: tuple[int, int], zone: Zone) -> Leaf:
    content = body[span[0] : span[1]]
    try:
        text = "" if b"\0" in content else content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    binary = bool(content) and not text
    return Leaf((), text, zone, editable=not binary, span=span, blob=binary)
