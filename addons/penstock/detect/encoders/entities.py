"""Names, postal addresses, organisations and places: what a token classifier sees in a text.

Only where a policy brings such a model (``penstock[ner]``, ``encoders:``). The model speaks of
tokens, in the tags of its training (B-PER, I-PER, O, or plain PER); here they become words, and
words become findings at exact places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.detect.encoders.encoder import Clock, EncoderTimeoutError, Piece
from penstock.detect.view import View
from penstock.exchange import Finding, Zone

if TYPE_CHECKING:
    from penstock.detect.encoders.named import EncoderSpec, NamedEncoder

ENTITY_TYPES = {
    "pii.name": "a person's name",
    "pii.address": "a postal address",
    "pii.organisation": "the name of an organisation",
    "pii.place": "the name of a place",
}
# What labels usually mean, in the tag sets of CoNLL, OntoNotes and collections of personal data.
_USUAL = {
    "pii.name": "PER PERSON NAME GIVENNAME SURNAME FIRSTNAME LASTNAME MIDDLENAME",
    "pii.address": "ADDRESS STREET STREETADDRESS BUILDINGNUM BUILDINGNUMBER SECONDARYADDRESS",
    "pii.organisation": "ORG ORGANIZATION ORGANISATION COMPANY COMPANYNAME",
    "pii.place": "LOC GPE LOCATION PLACE CITY STATE COUNTY COUNTRY",
}
_MEANS = {label: name for name, labels in _USUAL.items() for label in labels.split()}
_TAG = re.compile(r"([BIESLU])-(.+)\Z")
# A text longer than this is judged up to there; rules take the rest for what they look for.
# A model of 100 million parameters reads some 2000 characters a second on one core.
CHARACTERS_MAX = 64 * 1024
_WORD = re.compile(r"[^\W\d_]")
# Two characters of one word, in a script that sets spaces between words: all before Thai, and the
# later parts of Latin and Greek.
_SPACED = re.compile(r"(?:(?=[\u0000-\u0dff\u1e00-\u1fff])\w){2}")


@dataclass(slots=True)
class Word:
    """The tokens of one word: its place, what its first token is tagged, and how surely."""

    start: int
    end: int
    begins: bool
    meaning: str | None
    score: float


def usual_entity(label: str) -> str | None:
    """What a bare label usually stands for."""
    return _MEANS.get(re.sub(r"[^A-Z]", "", label.upper()))


def tag(label: str) -> tuple[bool, str]:
    """(whether it begins a name, the bare label) of a tag."""
    match = _TAG.match(label)
    return (False, label) if match is None else (match[1] in "BSU", match[2])


def find_entities(named: NamedEncoder, zones: frozenset[Zone], view: View) -> Iterator[Finding]:
    """The probe: what the model sees in a text of one of ``zones``."""
    if view.zone not in zones or _WORD.search(view.text) is None:
        return
    text = view.text[:CHARACTERS_MAX]
    if len(view.text) > CHARACTERS_MAX:
        view.leave(CHARACTERS_MAX)
    left = named.spec.seconds - view.root.spent_seconds
    if left <= 0:
        raise EncoderTimeoutError("the text's time is used up")
    with Clock(left) as clock:
        try:
            yield from entities(list(words(named, text, clock)), named.spec, text)
        finally:
            view.root.spent_seconds += left - clock.left


def words(named: NamedEncoder, text: str, clock: Clock) -> Iterator[Word]:
    """The words of a text in order, each once: pieces have their ends in common."""
    begun: list[Word] = []
    reached = 0
    for piece in named.encoder.read(text, clock):
        new = _words(named, piece, text)
        if piece.start < reached:  # of what both have seen, each keeps what it saw the middle of
            middle = (piece.start + reached) // 2
            begun = [word for word in begun if word.start < middle]
            new = [word for word in new if word.start >= middle]
        yield from begun
        begun, reached = new, piece.end
    yield from begun


def _words(named: NamedEncoder, piece: Piece, text: str) -> list[Word]:
    """The words of one piece. A word is what its first token says it is: models are taught
    the first token of each word, and what they make of the others is chance."""
    found: list[Word] = []
    for row, (start, end) in zip(piece.scores, piece.spans, strict=True):
        if end <= start:
            continue
        if found and found[-1].start == start and end > found[-1].end:
            found.pop()  # a space that stands for the beginning of the text
        if found and goes_on(text, found[-1].end, start):
            found[-1].end = max(found[-1].end, end)
            continue
        best = int(row.argmax())
        begins, _ = tag(named.encoder.labels[best])
        found.append(Word(start, end, begins, named.meanings[best], float(row[best])))
    return found


def goes_on(text: str, end: int, start: int) -> bool:
    """True when a token that begins at ``start`` is of the word that reached ``end``.

    By the characters, not by the tokenizer's own word numbers: to some the whole of a text
    is one word. Scripts without spaces have no such words; there each token speaks for itself.
    """
    if start != end:
        return start < end  # a character in several tokens
    return _SPACED.match(text, start - 1) is not None


def entities(found: list[Word], spec: EncoderSpec, text: str) -> Iterator[Finding]:
    """Words of one meaning in a row, as findings; those surer than the threshold."""
    row: list[Word] = []
    for word in (*found, Word(len(text), len(text), True, None, 0.0)):
        if row and (word.meaning != row[-1].meaning or word.begins):
            yield from _finding(row, spec, text)
            row = []
        if word.meaning is not None:
            row.append(word)


def _finding(row: list[Word], spec: EncoderSpec, text: str) -> Iterator[Finding]:
    """The finding of a row of words, without white space that tokens may have around them."""
    start, end = row[0].start, row[-1].end
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    score = sum(word.score for word in row) / len(row)
    meaning = row[0].meaning
    if meaning is not None and start < end and score >= spec.threshold:
        yield Finding(meaning, start, end, round(score, 3), f"encoder.{spec.id}")
