"""Addresses that carry data out: an answer that shows an image or a link sends what stands in it.

An image is loaded without a click, so its address alone is a message to whoever owns the
host. What counts is not the address but what it carries: words, a text in base64 or
hexadecimal, a name of letters and digits in place of a sub-domain. The finding covers the
whole construct (image, tag, definition), so that taking it out leaves no half of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote, unquote_plus

from penstock.detect.disguises.encoded import decoded_run
from penstock.detect.probe import Probe
from penstock.detect.secrets.randomness import entropy
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

IMAGE, LINK, RESOURCE = "leakage.markdown_image", "leakage.link", "leakage.html_resource"
LINK_TYPES = (IMAGE, LINK, RESOURCE)

# Unbounded classes, each ended by what it excludes: a count would cost the automaton a state
# for every repetition.
_START = r"(?:https?:)?//"
_ADDRESS = rf"(?:<({_START}[^<>\n]{{4,}})>|({_START}[^\s<>)]{{4,}}))"
_IMAGE = rf"!\[[^\]\n]*\]\(\s?{_ADDRESS}[^)\n]*\)"
_LINK = rf"\[[^\[\]\n]*\]\(\s?{_ADDRESS}[^)\n]*\)"
_DEFINITION = (
    rf"(?m:^ {{0,3}}\[[^\[\]\n]+\]:\s{{1,3}}(?:<({_START}[^<>\n]{{4,}})>|({_START}[^\s<>]{{4,}})))"
)
# A quoted value may hold spaces: browsers send them along.
_QUOTED = (
    rf"(?:\"\s?({_START}[^\"<>]{{4,}})\"|'\s?({_START}[^'<>]{{4,}})'|({_START}[^\s\"'<>]{{4,}}))"
)
_TAG = (
    r"(?i:<(?:img|image|i?frame|script|embed|object|video|audio|source|track|link|input|svg|use"
    r"|body|table|td|form|base|area|a)[\s/][^<>]*(?:src|srcset|href|data|poster|background|action)"
    rf"\s?=\s?{_QUOTED}[^<>]*>?)"
)
_CSS = (
    rf"(?i:url\(\s?(?:\"({_START}[^\"\n]{{4,}})\"|'({_START}[^'\n]{{4,}})'|({_START}[^\s\"')]{{4,}}))\s?\)"
    rf"|@import\s(?:\"({_START}[^\"\n]{{4,}})\"|'({_START}[^'\n]{{4,}})'))"
)

# A word of a query is no data; a sentence is. Links are followed by people, who search for
# sentences and share them: there it takes more.
WORDS_LOADED, WORDS_LINKED = 4, 12
CHARACTERS_LOADED, CHARACTERS_LINKED = 24, 90
# One value of a query, read as nothing: keys and messages in cipher are as long, settings are not.
OPAQUE_CHARACTERS_MIN = 40
# Letters and digits that say something when read as base64 or hexadecimal.
RUN_CHARACTERS_MIN = 16
# A label of a host name that no person chose, and several of them together.
LABEL_CHARACTERS_MIN, LABELS_CHARACTERS_MIN = 28, 44
LABEL_ENTROPY_MIN = 2.8
# Labels that are the service's own: example.co.uk, 10.10.10.10.
OWN_LABELS = 2
# What stands for a value to be filled in: {data}, ${data}, %7Bdata%7D.
_TEMPLATE = re.compile(r"\$?\{[^{}\s]{1,60}\}|%7[bB][^%\s]{1,60}%7[dD]|\[(?:DATA|SECRET|KEY|TOKEN)")
_RUN = re.compile(rf"[0-9A-Za-z+/_-]{{{RUN_CHARACTERS_MIN},}}={{0,2}}")
_PLAIN_ADDRESS = re.compile(r"https?://[^\s\"'<>]+")
_WORD = re.compile(r"[^\W\d_]{2,}")


def link_probes() -> list[Probe]:
    """Images, links and definitions of Markdown; tags and style sheets of HTML."""
    return [
        _probe(IMAGE, _IMAGE, lambda view, start: IMAGE),
        _probe(LINK, _LINK, _unless_image),
        _probe(IMAGE, _DEFINITION, _used_as, (IMAGE, LINK)),
        _probe(RESOURCE, _TAG, _by_tag, (RESOURCE, LINK)),
        _probe(RESOURCE, _CSS, lambda view, start: RESOURCE),
    ]


def hosts_of(value: str) -> list[str]:
    """The hosts a found construct would ask, in lower case."""
    return [match[1].lower().rsplit("@", 1)[-1] for match in _HOST.finditer(value)]


_HOST = re.compile(r"(?:https?:)?//([^\s/?#\"'<>()\\]{1,255})", re.IGNORECASE)
_TypeAt = Callable[[View, int], str | None]


def _probe(name: str, source: str, type_at: _TypeAt, types: tuple[str, ...] | None = None) -> Probe:
    pattern = Pattern(source)
    number = f"{name}#link{len(source)}"

    def find(view: View) -> Iterator[Finding]:
        for start, end, low, high in view.spans(pattern):
            found = type_at(view, start)
            if found is None:
                continue
            sure = carries(view.text[low:high], loaded=found != LINK)
            if sure is not None:
                yield Finding(found, start, end, sure, number)

    return Probe(number, types or (name,), source, find, "words")


def _unless_image(view: View, start: int) -> str | None:
    return None if view.text[max(0, start - 1) : start] == "!" else LINK


def _used_as(view: View, start: int) -> str:
    """A definition belongs to an image where one refers to it: ``![words][name]``."""
    line = view.text[start : start + 110].lstrip()
    name = line[1 : line.find("]")]
    return IMAGE if f"][{name}]" in view.text and "![" in view.text else LINK


def _by_tag(view: View, start: int) -> str:
    tag = view.text[start + 1 : start + 3].lower()
    return LINK if tag in ("a ", "a\n", "a\t") else RESOURCE


def carries(address: str, loaded: bool) -> float | None:
    """How surely the address carries data; None when it looks like any other.

    ``loaded``: it is asked for without a click.
    """
    rest = address.split("//", 1)[-1]
    host, _, tail = rest.replace("?", "/?", 1).replace("#", "/#", 1).partition("/")
    user, _, name = host.rpartition("@")
    if loaded and _TEMPLATE.search(tail):
        return 0.7
    if _odd_labels(name.partition(":")[0]):
        return 0.6
    path, _, query = tail.partition("?")
    pieces = [*re.split(r"[/#]", unquote(path)), *_values(query), unquote(user)]
    words, characters = (
        (WORDS_LOADED, CHARACTERS_LOADED) if loaded else (WORDS_LINKED, CHARACTERS_LINKED)
    )
    if loaded and any(_is_opaque(value) for value in _values(query)):
        return 0.7
    for piece in pieces:
        if len(piece) < RUN_CHARACTERS_MIN:
            continue
        spaced = piece.count(" ") + 1
        if spaced >= words and len(piece) >= characters and len(_WORD.findall(piece)) >= words:
            return 0.7
        if any(_says(match[0]) for match in _RUN.finditer(piece)):
            return 0.8
    return None


def _values(query: str) -> list[str]:
    return [unquote_plus(part.partition("=")[2] or part) for part in re.split("[&;]", query)]


def _is_opaque(value: str) -> bool:
    """True for one long value: badges are drawn from many short ones, or from a file whose address
    they name, which has short pieces."""
    pieces = re.split(r"[/?&=#.]", value) if _PLAIN_ADDRESS.fullmatch(value) else (value,)
    return any(len(piece) >= OPAQUE_CHARACTERS_MIN for piece in pieces)


def _says(run: str) -> bool:
    """True when the run is text in base64 or hexadecimal.

    An address that carries nothing says nothing: proxies for images have it in their own.
    """
    plain = decoded_run(run)
    if plain is None or len(_WORD.findall(plain)) < 2:
        return False
    return not _PLAIN_ADDRESS.fullmatch(plain) or carries(plain, loaded=True) is not None


def _odd_labels(name: str) -> bool:
    labels = [label for label in name.lower().split(".")[:-OWN_LABELS] if label]
    odd = [label for label in labels if _is_odd(label)]
    return any(len(label) >= LABEL_CHARACTERS_MIN for label in odd) or (
        len(odd) > 1 and sum(map(len, odd)) >= LABELS_CHARACTERS_MIN
    )


def _is_odd(label: str) -> bool:
    digits = sum(char.isdigit() for char in label)
    return (
        len(label) >= RUN_CHARACTERS_MIN
        and label.count("-") <= 1
        and 0 < digits < len(label)
        and entropy(label) >= LABEL_ENTROPY_MIN
    )
