"""Generic credentials: a telling name, an assignment, and a value that looks like a secret.

One probe finds the names, ``assigned`` reads the value. The value model decides; a vendor's
name nearby with the vendor's shape makes the finding specific.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import re2

from penstock.detect.disguises.encoded import decoded_run
from penstock.detect.files.blobs import decoded, kinds
from penstock.detect.probe import Probe
from penstock.detect.rules import ContextRule
from penstock.detect.secrets.assigned import LIVE_VALUE, ValueReader
from penstock.detect.secrets.joined import JOINED, LIVE_JOIN, SETTER, SETTER_REACH
from penstock.detect.secrets.names import (
    KEY_WORDS,
    NAME_CHARACTERS_MAX,
    PASSWORD_WORDS,
    SECRET_WORDS,
    about_something_else,
    promise_of,
)
from penstock.detect.secrets.randomness import classes, entropy, word_share
from penstock.detect.secrets.values import (
    JUDGED_CHARACTERS_MAX,
    Promise,
    identifier,
    placeholder,
    score,
)
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

# How much of a line before the value may hold the vendor's name.
CONTEXT_REACH = 64
# The shortest value of a vendor rule; shorter ones need no look at the vendors.
SPECIFIC_CHARACTERS_MIN = 12
# More than the longest: so much of a value is compared with the vendors' shapes.
SHAPED_CHARACTERS_MAX = 512
_GENERIC = "secret.generic"


def credential_probes(rules: Sequence[ContextRule]) -> list[Probe]:
    """The generic probes; ``rules`` make findings specific to a vendor."""
    words = (*PASSWORD_WORDS, *SECRET_WORDS, *KEY_WORDS)
    # A word that contains a shorter one is found by the shorter one.
    short = [w for w in words if not any(o != w and o in w for o in words)]
    short += sorted({re.escape(w) for rule in rules for w in rule.keywords})
    names = f"(?i:{'|'.join(short)}|identified)"
    behind = rf"[\"']\s?[!=]==?\s?[0-9A-Za-z_.]*{names}"
    reversed_ = rf"[\"']([^\"'\s]{{4,}}){behind}"
    finder = _Finder(names, reversed_, rules)
    specific = sorted({f"secret.{rule.id}" for rule in rules})
    types = ("secret.api_key", "secret.credential", "secret.password", *specific)
    live = rf"{names}{LIVE_JOIN}{LIVE_VALUE}"
    return [
        Probe(_GENERIC, types, names, finder.forward, "words", live=live),
        Probe(
            _GENERIC + "_reversed",
            types,
            reversed_,
            finder.reversed,
            "words",
            trigger=r"[\"']\s?[!=]=",
            unended=_in_quotes,
        ),
    ]


class _Finder:
    """The patterns and the vendor rules, compiled when first needed."""

    def __init__(self, names: str, reversed_: str, rules: Sequence[ContextRule]) -> None:
        self._names = Pattern(names)
        self._reversed = Pattern(reversed_)
        self._by_word: dict[str, list[ContextRule]] = defaultdict(list)
        for rule in rules:
            for word in rule.keywords:
                self._by_word[word].append(rule)
        longest_first = sorted(self._by_word, key=len, reverse=True)
        self._vendors = re.compile("|".join(re.escape(word) for word in longest_first))
        self._shapes: dict[str, re2._Regexp] = {}

    def forward(self, view: View) -> Iterator[Finding]:
        text = view.text
        values = ValueReader(text)
        done = 0  # where the last value that was found ends
        judged = 0  # where the last value that was looked at ends
        for start, word_end, _, _ in view.spans(self._names):
            if start < done or (start < judged and text[start - 1] == "="):
                continue
            joined = JOINED.match(text, word_end)
            if joined is None or (joined["gap"] and _WORD.match(text, joined.end())):
                continue
            begin = _name_start(text, start)
            operator = _operator(text, begin, start, joined)
            place = values.read(joined.end()) if operator else None
            if place is None:
                continue
            low, high, quoted = place
            judged = high
            if not quoted and operator in ("(", ",", "{", "space"):
                continue
            name_end = word_end if joined["sql"] else joined.end("rest")
            finding = self._judge(text, begin, name_end, low, high, quoted, operator)
            if finding is not None:
                done = high
                yield finding

    def reversed(self, view: View) -> Iterator[Finding]:
        for _, end, low, high in view.spans(self._reversed):
            name = re.split(r"[=\s]", view.text[high + 1 : end])[-1]
            promise = promise_of(name)
            sure = score(view.text[low:high], promise, True, True) if promise else None
            if sure is not None:
                kind = _kind(promise)
                yield Finding(kind, low, high, sure, _GENERIC)

    def _judge(
        self, text: str, begin: int, name_end: int, low: int, high: int, quoted: bool, operator: str
    ) -> Finding | None:
        name = text[begin:name_end]
        value = text[low : min(high, low + SHAPED_CHARACTERS_MAX)]
        promise = "password" if operator == "sql" else promise_of(name)
        if operator != "sql" and about_something_else(name):
            return None
        if (
            operator == "("
            and name.rpartition(".")[2] != name
            and promise_of(name.rpartition(".")[2]) is None
        ):
            return None
        line_start = max(text.rfind("\n", 0, begin) + 1, begin - CONTEXT_REACH)
        specific = self._specific(text[line_start:low], value) if operator != "beside" else None
        if specific is not None:
            return Finding(specific, low, high, 0.85, specific)
        if promise is None:
            return None
        if operator == "beside":
            return _beside(value, promise, low, high)
        config = operator in ("flag", "sql") or _config(text, name_end, low)
        if not quoted and not config and identifier(value[:JUDGED_CHARACTERS_MAX]):
            return None
        sure = score(value, promise, quoted, config)
        return None if sure is None else Finding(_kind(promise), low, high, sure, _GENERIC)

    def _specific(self, before: str, value: str) -> str | None:
        """The vendor's type when its name stands before and its shape fits."""
        judged = value[:JUDGED_CHARACTERS_MAX]
        if len(value) < SPECIFIC_CHARACTERS_MIN or placeholder(judged) or identifier(judged):
            return None
        hits = [
            rule
            for match in self._vendors.finditer(before.lower())
            if not _inside_a_word(before, match.start())
            for rule in self._by_word[match.group()]
        ]
        if not hits or entropy(value) < 2.8:
            return None
        digits = classes(value)[2]
        if word_share(value) > (0.5 if digits else 0.4) or (not digits and len(value) < 32):
            return None
        for rule in hits:
            shape = self._shapes.get(rule.value)
            if shape is None:
                shape = self._shapes[rule.value] = re2.compile(rule.value)
            if shape.fullmatch(value):
                return f"secret.{rule.id}"
        return None


# A text that ends in a value in quotes, whose name may stand behind it.
_QUOTED_ON = re.compile(r"[\"']([^\"'\s]{256,}+)(?:[\"']\s?[!=]{0,3}\s?[0-9A-Za-z_.]{0,80})?\Z")
_HEXADECIMAL = re.compile(r"(?:0x)?[0-9A-Fa-f]+")
_PROMISES: tuple[Promise, ...] = ("password", "secret", "key")


def _in_quotes(text: str) -> int | None:
    """Where a value in quotes begins that the text ends in, if it may be a secret: a picture or
    another file in base64 is none, nor a program in hexadecimal; of a text in base64 what it
    says is read."""
    match = _QUOTED_ON.search(text)
    if match is None:
        return None
    value = match[1][:JUDGED_CHARACTERS_MAX]
    if (
        value.startswith("data:")
        or _HEXADECIMAL.fullmatch(value)
        or kinds(decoded(value))
        or decoded_run(value) is not None
    ):
        return None
    perhaps = any(score(value, promise, True, True) is not None for promise in _PROMISES)
    return match.start() if perhaps else None


def _operator(text: str, begin: int, start: int, joined: re.Match[str]) -> str:
    """What joins name and value: ``sql``, ``flag``, ``space``, ``(``, ``,``, ``{``, ``=``,
    ``beside`` (nothing but a blank), or nothing that joins."""
    if joined["sql"]:
        word = text[start : start + 10].lower()
        if word.startswith("password"):
            return "="  # SET PASSWORD FOR
        return "sql" if word == "identified" else ""
    if joined["pair"]:
        return "="
    if joined["sign"]:
        if joined["sign"][0] == " " and text[start : joined.start("sign")].lower() == "pass":
            return ""  # the verb: pass to `x`
        return joined["sign"][0] if joined["sign"][0] in "(,{" else "="
    if begin == start and _SQL_BEFORE.search(text[max(0, begin - _SQL_REACH) : begin].lower()):
        return "sql"
    if joined["quote"]:
        return "space"
    if text[begin : begin + 1] == "-" or "-" in joined["gap"]:
        return "flag"
    if _DIGIT_AHEAD.match(text, joined.end()) is None:
        return ""  # most words behind most names
    return "flag" if SETTER.search(text, max(0, begin - SETTER_REACH), begin) else "beside"


def _beside(value: str, promise: Promise, low: int, high: int) -> Finding | None:
    """Nothing but a blank joins them ("the password Xy7…"): the value must speak for itself."""
    judged = value[:JUDGED_CHARACTERS_MAX]
    lower, upper, digits, _ = classes(judged)
    if not (lower and upper and digits) or identifier(judged):
        return None
    if promise == "password":
        sure = score(judged, promise, False, False) if len(value) >= PASSWORD_BESIDE_MIN else None
    else:
        sure = score(judged, "weak", False, False)
    return None if sure is None else Finding(_kind(promise), low, high, min(sure, 0.6), _GENERIC)


# Most names stand in sentences: a word in small letters follows, which is no value.
_WORD = re.compile(r"[a-z]++[.,;:!?)]{0,2}+(?=\s|\Z)")
_DIGIT_AHEAD = re.compile(r"[^\s\d]{0,40}+\d")
# A shorter one beside its name is a word with a number.
PASSWORD_BESIDE_MIN = 8
# How far before PASSWORD the statement it belongs to may begin.
_SQL_REACH = 80
_SQL_BEFORE = re.compile(r"(?:\b(?:user|role|login|with|encrypted|identified)\b[^;\n]*)$")


def _inside_a_word(text: str, at: int) -> bool:
    """``meraki`` in ``CameraKit``: the word goes on to the left, in small letters."""
    return at > 0 and text[at - 1 : at + 1].isalpha() and text[at - 1 : at + 1].islower()


def _kind(promise: Promise | None) -> str:
    if promise == "password":
        return "secret.password"
    return "secret.api_key" if promise == "key" else "secret.credential"


def _name_start(text: str, start: int) -> int:
    """Where the name begins whose word starts at ``start``."""
    low = max(0, start - NAME_CHARACTERS_MAX)
    while start > low and (text[start - 1].isalnum() or text[start - 1] in "_-."):
        start -= 1
    return start


def _config(text: str, name_end: int, low: int) -> bool:
    """True when the assignment reads like configuration or prose: no code around it."""
    middle = text[name_end:low]
    if "==" in middle or "(" in middle:
        return False
    return not (" = " in middle or "= " in middle)
