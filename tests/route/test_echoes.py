"""A key does not come back: in no spelling, over no cut, in no text."""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from penstock.route.credentials.echoes import REMOVED, Echoes, EchoStream, spellings

SECRET = "sk-proj-Ab/c+d=e_f.g~9"
# Texts around the key that share its letters, so that false beginnings abound.
around = st.text("sk-projAb/c+d", max_size=30)
cuts = st.lists(st.integers(1, 7), min_size=1, max_size=40)


def pieces[S: (str, bytes)](whole: S, sizes: list[int]) -> list[S]:
    found, at, turn = [], 0, 0
    while at < len(whole):
        size = sizes[turn % len(sizes)]
        found.append(whole[at : at + size])
        at, turn = at + size, turn + 1
    return found


@given(before=around, between=around, after=around, sizes=cuts, spelling=st.integers(0, 9))
def test_bytes_lose_the_key_and_keep_their_length(
    before: str, between: str, after: str, sizes: list[int], spelling: int
) -> None:
    """However the chunks are cut, and in each spelling: no key, the same number of bytes."""
    forms = spellings([SECRET])
    written = forms[spelling % len(forms)]
    whole = f"{before}{written}{between}{written}{after}".encode()
    stream = EchoStream(Echoes([SECRET]))
    out = b"".join(stream.feed(piece) for piece in pieces(whole, sizes)) + stream.end()
    assert written.encode() not in out and len(out) == len(whole)
    assert out.replace(b"*", b"") == whole.replace(written.encode(), b"")


@given(text=around, sizes=cuts)
def test_bytes_without_a_key_pass_as_they_are(text: str, sizes: list[int]) -> None:
    """Beginnings of a key that do not go on are held for a moment and then leave."""
    whole = text.encode()
    stream = EchoStream(Echoes([SECRET]))
    assert b"".join(stream.feed(p) for p in pieces(whole, sizes)) + stream.end() == whole


def test_nothing_is_held_without_need() -> None:
    """An event that does not end like a key begins leaves whole and at once."""
    stream = EchoStream(Echoes([SECRET]))
    assert stream.feed(b'data: {"a": 1}\n\n') == b'data: {"a": 1}\n\n'
    assert stream.feed(b"ends with sk-pr") == b"ends with "


@given(before=around, after=around, sizes=cuts)
def test_texts_lose_the_key(before: str, after: str, sizes: list[int]) -> None:
    """A scanner replaces the key, and settles all else, however the text grows."""
    whole = before + SECRET + after
    scanner = Echoes([SECRET]).scanner()
    steps = [scanner.feed(piece) for piece in pieces(whole, sizes)] + [scanner.finish()]
    changes = [one for step in steps for one in step.replacements]
    assert steps[-1].settled == len(whole)
    assert [s.settled for s in steps] == sorted(s.settled for s in steps)
    out, at = "", 0
    for one in changes:
        out, at = out + whole[at : one.start] + one.text, one.end
    assert SECRET not in out + whole[at:] and (REMOVED in out)


def test_usual_spellings_are_known() -> None:
    """As JSON, URLs and JavaScript write it."""
    forms = spellings([SECRET])
    for form in (json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), SECRET.replace("/", "\\/")):
        assert form in forms
    assert "sk-proj" not in repr(Echoes([SECRET]))
