"""Forms: fields at their offsets, text apart from bytes, nothing hostile raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import edits
from penstock.wire.edits import Edit
from penstock.wire.multipart import MAX_FIELDS, read_multipart

TYPE = 'multipart/form-data; boundary="b o"'
BODY = (
    b'preamble\r\n--b o\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b o\r\nContent-Disposition: form-data; name="prompt"\r\n\r\ncaf\xc3\xa9 talk\r\n'
    b'--b o\r\ncontent-disposition: form-data; name="file"; filename="a b.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\x00\xff\r\n\r\n--b o--\r\n"
)


def test_fields_are_read_with_names_types_and_sizes() -> None:
    form = read_multipart(BODY, TYPE)
    assert form.problem is None
    assert (form.value("model"), form.value("prompt")) == ("whisper-1", "café talk")
    file = form.fields[2]
    assert (file.filename, file.content_type, file.size_bytes) == ("a b.wav", "audio/wav", 8)
    assert file.leaf.blob and not file.leaf.editable


def test_a_text_field_is_edited_in_place() -> None:
    leaf = read_multipart(BODY, TYPE).fields[1].leaf
    changed = edits.apply(BODY, [Edit(leaf, 5, 9, "x")])
    assert changed == BODY.replace(b"talk", b"x")


def test_bare_line_feeds_are_read_too() -> None:
    form = read_multipart(BODY.replace(b"\r\n", b"\n"), TYPE)
    assert form.value("prompt") == "café talk"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (BODY, "multipart/form-data"),
        (BODY, "multipart/form-data; boundary=" + "x" * 100),
        (b"nothing", TYPE),
        (BODY[:-60], TYPE),
        (b"--b o\r\nContent-Disposition: form-data", TYPE),
        (b"--b o\r\n\r\nx\r\n" * (MAX_FIELDS + 1) + b"--b o--", TYPE),
    ],
)
def test_what_cannot_be_read_whole_is_a_problem(body: bytes, content_type: str) -> None:
    assert read_multipart(body, content_type).problem is not None


@given(st.lists(st.sampled_from([b"--b o", b"\r\n", b"\n", b"--", b"x", b'name="a"', b":"])))
def test_hostile_forms_never_raise(pieces: list[bytes]) -> None:
    read_multipart(b"".join(pieces), TYPE)
