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
_CLOSERS = r"(?:\\?[\"'`\])}]|&quot;|</?[a-z]{1,6}>){0,3}"
_TYPED = r"(?:\s?:\s?|\s)(?:[Ss]tring|str|&str|text|char ?\*)"
_ASSIGN = r"(?:=>|:=|[!=]==?|=|:|->|\(|,|>| is:?| was| est| ist| es| é|\|\|=?|\?\?=?)"


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
    live = rf"{names}(?:{_LIVE_JOIN}|{_SQL_JOIN}){LIVE_VALUE}"
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
            joined = _JOINED.match(text, word_end)
            if joined is None:
                continue
            begin = _name_start(text, start)
            operator = _operator(text, begin, start, joined)
            place = values.read(joined.end()) if operator else None
            if place is None:
                continue
            low, high, quoted = place
            judged = high
            if not quoted and operator in ("(", ",", "space"):
                continue
            finding = self._judge(text, begin, joined.end("rest"), low, high, quoted, operator)
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
        specific = self._specific(text[line_start:low], value)
        if specific is not None:
            return Finding(specific, low, high, 0.85, specific)
        if promise is None:
            return None
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


# A name and a value that each have a name: {"name": "DB_PASSWORD", "value": …}, variable "x" {
# default = … }, key="x" value=…, "x": {"value": …}.
_PAIR = (
    r"\\?[\"']?(?:\s?[:=]?\s?\{|,|\s)\s{0,40}(?:(?:type|description|sensitive|nullable)\s{0,20}="
    r"[^\n]{0,200}\n\s{0,40}){0,4}\\?[\"']?(?:[Vv]alue|default)\\?[\"']?\s{0,20}[:=]\s{0,3}"
)
# What stands between a name's word and its value: the rest of the name, and the blanks that
# line values up in a column. Bounded: at most some 180 characters.
_JOIN = (
    rf"(?P<rest>[0-9A-Za-z_.\]-]{{0,{NAME_CHARACTERS_MAX}}}+)(?:(?P<pair>{_PAIR})"
    rf"|{_CLOSERS}[ \t]{{0,40}}(?:{_TYPED}[ \t]{{0,3}})?(?P<sign>{_ASSIGN})[ \t]{{0,40}}"
    rf"|[ \t]{{1,4}}(?P<quote>\\?[\"'])|(?P<gap> {{1,3}}))"
)
# The same as RE2 reads it: no names, no possessive counts.
_LIVE_JOIN = re.sub(r"\?P<[a-z]+>", "?:", _JOIN).replace("}+", "}")
_SQL_JOIN = r"(?: with [\"'`]?[a-z0-9_]{1,40}[\"'`]?)? (?:by|as) {1,3}"
_JOINED = re.compile(f"(?i:(?P<sql>{_SQL_JOIN}))|{_JOIN}")


def _operator(text: str, begin: int, start: int, joined: re.Match[str]) -> str:
    """What joins name and value: ``sql``, ``flag``, ``space``, ``(``, ``,``, ``=``, or nothing."""
    if joined["sql"]:
        return "sql" if text[start : start + 10].lower() == "identified" else ""
    if joined["pair"]:
        return "="
    if joined["sign"]:
        return joined["sign"][0] if joined["sign"][0] in "(," else "="
    if begin == start and _SQL_BEFORE.search(text[max(0, begin - _SQL_REACH) : begin].lower()):
        return "sql"
    if joined["quote"]:
        return "space"
    return "flag" if text[begin : begin + 1] == "-" else ""


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
