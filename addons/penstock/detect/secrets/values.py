"""Is this value a secret, or a name, a placeholder, a path, an expression?

The value model of generic credentials: given what the name promises (a password, a token,
a key), how random must the value be. Pure, linear, no state.
"""

from __future__ import annotations

import re
from typing import Literal

from penstock.detect.secrets.randomness import (
    classes,
    entropy,
    is_word,
    letter_runs,
    switches,
    word_share,
)

Promise = Literal["password", "secret", "key", "weak"]


def words(text: str) -> frozenset[str]:
    """A literal list of words as a set."""
    return frozenset(text.split())


# The beginning of a value says what it is; a bound for texts made of names and signs. A value
# itself has none: what is longer is taken whole.
JUDGED_CHARACTERS_MAX = 128
_PLACEHOLDER_WORDS = (
    "example", "changeme", "change_me", "change-me", "placeholder", "redacted", "dummy", "sample",
    "your_", "your-", "yourp", "yourt", "yours", "yourk", "youra", "insert", "replace", "undefined",
    "notreal", "not-real", "not_real", "xxxx", "****", "...", "…", "todo", "fixme", "fake",
    "mypass", "mysecret", "mytoken", "foobar", "lorem", "secretkey", "passwordhere", "goes_here",
)  # fmt: skip
_TEMPLATE = re.compile(
    r"\$\{[\w.:\- ]*\}|\{\{[^{}]*\}\}|<[\w .\-/]+>|%\(\w+\)s|#\{[^{}]+\}|\$\([^)]*\)|<%|"
    r"^[$<%]|^\{[\w.!:]*\}|^\[.*\]$|%[A-Z_]+%"
)
# Words that only in front of digits make a value of documentation: password1, test123.
_STOCK = re.compile(
    r"^(?:pass(?:word|wd)?|secret|token|test|user|admin|foo|bar|abc|key)[\d_-]*$", re.I
)
_WORDS = words(
    "none null true false nil undefined password passwd secret token key string str int bool any "
    "optional required default value values empty test tests testing user admin root name self "
    "this bytes object unknown disabled enabled yes no auto env basic bearer digest"
)
_EXPRESSION = re.compile(
    r"^(?:[A-Za-z_$][\w$]*(?:\.|->|::)[A-Za-z_$].*|[A-Za-z_$][\w$.]*\(.*|\$[A-Za-z_{(].*|%[A-Za-z_]+%?|"
    r"@[A-Za-z_.]+|&[A-Za-z_.]+|\[.*|\{.*)$"
)
_DATE_OR_NUMBER = re.compile(r"^[+-]?[\d.,:/TZ_ -]+(?:ms|px|em|rem|s|m|h|d|[KMG]i?B?)?$")
_VERSION = re.compile(r"^[v^~=<>]{0,2}\d+(?:\.\d+)+(?:[-+.]?[A-Za-z]+[\d.]*)*$")
_UUID = re.compile(r"^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$")
_HEX = re.compile(r"^(?:0x)?[0-9a-fA-F]{16,}$")
_MAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$")
_CONSTANT = re.compile(r"^[A-Z][A-Z0-9]*(?:[_-][A-Z0-9]+)+$")


def placeholder(value: str) -> bool:
    """True for fillers, templates and documentation values."""
    low = value.lower()
    if low in _WORDS or low.startswith("placeholder_") or _STOCK.match(value):
        return True
    if any(word in low for word in _PLACEHOLDER_WORDS) or _TEMPLATE.search(value):
        return True
    return len(set(low)) <= 2


def identifier(value: str) -> bool:
    """True for names in code: words joined by case, dashes, dots or underscores."""
    if _CONSTANT.match(value):
        return True
    runs = letter_runs(value)
    _, _, digits, other = classes(value)
    joined = sum(value.count(c) for c in "_-./ :")
    if other > joined or digits > 3 or not all(is_word(run) for run in runs if len(run) > 1):
        return False
    words = sum(len(run) for run in runs if len(run) >= 4)
    return not digits or 2 * words >= sum(len(run) for run in runs)


def _refused(value: str) -> bool:
    return bool(
        placeholder(value)
        or _EXPRESSION.match(value)
        or _DATE_OR_NUMBER.match(value)
        or _VERSION.match(value)
        or _MAIL.match(value)
        or "://" in value
        or _path(value)
    )


def _path(value: str) -> bool:
    """A file path, a route or a host: words between slashes."""
    if "/" not in value and "\\" not in value:
        return False
    pieces = [piece for piece in re.split(r"[/\\]", value) if piece]
    return len(pieces) > 1 and sum(identifier(piece) for piece in pieces) * 2 > len(pieces)


def score(value: str, promise: Promise, quoted: bool, config: bool) -> float | None:
    """How sure we are that ``value`` is a secret, or None when it is not one.

    ``quoted``: it stood in quotes. ``config``: the assignment reads like configuration,
    a command line or prose and not like code, so a bare word can be a value.
    """
    if len(value) < 4:
        return None
    value = value[:JUDGED_CHARACTERS_MAX]
    if _refused(value):
        return None
    if not quoted and (_SUBSCRIPT.match(value) or word_share(value) > BARE_WORD_SHARE_MAX):
        return None
    if promise == "password":
        return _password(value, quoted, config)
    return _token(value, promise, quoted)


def _password(value: str, quoted: bool, config: bool) -> float | None:
    lower, upper, digits, other = classes(value)
    if " " in value or len(value) < 6:
        return None
    letters = lower + upper
    special = other - sum(value.count(c) for c in "_-. ,:;/")
    if len({c for c in value if not c.isalnum()}) >= SPECIALS_MIN and "\\" not in value:
        return 0.65 if letters >= 4 else None
    kinds = (lower > 0) + (upper > 0) + (digits > 0) + (special > 0)
    loose = quoted or config
    if digits and letters and (special > 0 or not (identifier(value) or _tail_digits_only(value))):
        return 0.8 if loose or kinds >= 3 else None
    if special > 0 and kinds >= 2 and loose and value[-1] not in ":?,;)":
        if "(" in value and len({c for c in value if not c.isalnum()}) < SPECIALS_MIN:
            return None
        return 0.65 if kinds >= 3 or quoted else None
    if digits and letters and loose and not identifier(value):
        return 0.6
    if digits and letters and quoted:
        return 0.55
    if lower and upper and loose and len(value) >= 8 and not identifier(value):
        return 0.55
    return None


def _token(value: str, promise: Promise, quoted: bool) -> float | None:
    size = len(value)
    lower, upper, digits, other = classes(value)
    if " " in value or value[0] == "#":
        return None
    if other and not _TOKEN_CHARACTERS.issuperset(value):
        specials = {c for c in value if not c.isalnum()}
        odd = len(specials) >= SPECIALS_MIN and size <= 64 and "\\" not in value
        return 0.6 if odd and "(?" not in value and promise != "weak" else None
    if _UUID.match(value):
        return 0.6 if promise == "secret" else None
    if _HEX.match(value):
        enough = size >= 32 or promise == "secret"
        random = digits >= 3 and lower + upper >= 2 and entropy(value) >= 2.5
        return 0.7 if enough and random else None
    if size < LEAST_CHARACTERS[promise] or identifier(value):
        return None
    bits = entropy(value)
    if bits < LEAST_BITS[promise] or word_share(value) > 0.5 or not lower + upper:
        return None
    if digits == 0 and (size < 24 or not (lower and upper)):
        return None
    if switches(value) < (3 if size < 32 else 5):
        return None
    return 0.75 if bits >= 3.5 else 0.6


LEAST_CHARACTERS: dict[str, int] = {"secret": 10, "key": 16, "weak": 20}
LEAST_BITS: dict[str, float] = {"secret": 3.0, "key": 3.2, "weak": 3.8}
# A bare value of which more stands in words is an identifier or a type name.
BARE_WORD_SHARE_MAX = 0.6
# A value that is no token by its characters must at least look like a made password.
SPECIALS_MIN = 6
_SUBSCRIPT = re.compile(r"^[\w.]+\[")
_TOKEN_CHARACTERS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.~:%"
)


def _tail_digits_only(value: str) -> bool:
    """``user1``, ``password123``: words that merely end in digits."""
    head = value.rstrip("0123456789")
    return head.isalpha() and all(is_word(run) for run in letter_runs(head))
