"""Passwords inside URLs, connection strings and command lines.

The finding covers the password alone, so what remains is still a usable address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from penstock.detect.probe import Probe
from penstock.detect.secrets.randomness import classes, entropy
from penstock.detect.secrets.values import placeholder
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

# Nothing here has an upper bound: what a bound cuts off leaves.
_USER = r"[a-zA-Z][a-zA-Z0-9+.-]+://[^\s/?#:@\"'`<>]*:"
_URL = _USER + r"([^\s/?#\"'`<>\\]+)@[0-9A-Za-z_.\[\]:{}$%-]+"
# The text ends before the @ that makes it a password; a port is shorter.
_CUT_URL = _USER + r"([^\s/?#\"'`<>\\@]+)\z"
CUT_CHARACTERS_MIN = 256
_CURL = r"\s(?:-u|--user|--proxy-user)[ =]?[\"']?[^\s:\"'<$]{1,80}:[\"']?([^\s\"']{3,})"
# The beginning of a value says what it is. In much more of one any short word stands by chance.
JUDGED_CHARACTERS_MAX = 300
# Of three hundred letters at random, one in a hundred has three of these in a row.
FILLER_CHARACTERS_MAX = 40
# A text that ends in a user name so long: whether a password follows, only its end would show.
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{1,40}\Z")
_USER_GOES_ON = re.compile(r"[^\s/?#:@\"'`<>]{256,}+(?::[^\s/?#\"'`<>\\]*)?\Z")
# How far before -u the word curl may stand: headers and data may come first.
CURL_REACH = 400
_BASIC = (
    r"(?i:authorization(?:[\"']?\s{0,2}(?:[:=,]|=>)\s{0,2}[\"']?(?:(?:basic|bearer|token|apikey"
    r"|api-key|key|digest))?| [\"']?(?:basic|bearer))) ([0-9A-Za-z+/=_.~-]{12,})"
)
_CURLOPT = (
    r"(?:USERPWD|usrpwd|userpwd)[\"']?\s{0,2}[,=:]\s{0,2}[\"']([^\"'\s:]{1,60}:[^\"'"
    r"\s]{3,})"
)
# What documentation writes in the password's place.
_STOCK = re.compile(
    r"^(?:your|my|the|user|db)?[_-]?(?:password|passwd|secret|token|redacted|api"
    r"key|api_key)[_-]?\d?$"
)
_Judge = Callable[[str], float | None]


def url_probes() -> list[Probe]:
    """URL user information, curl -u, authorization headers."""
    return [
        _probe(
            "secret.url_credentials", _URL, _in_url, r"://[^\s/?#]*:[^\s/?#]*@", unended=_in_a_user
        ),
        _probe("secret.url_credentials", _CUT_URL, _in_cut_url, r"://[^\s/?#@]*:[^\s/?#@]*\z"),
        _probe("secret.basic_auth", _CURL, _in_curl, r"\s(?:-u|--user|--proxy-user)[ =]", "curl"),
        _probe("secret.basic_auth", _CURLOPT, _in_curl),
        _probe("secret.authorization", _BASIC, _in_header),
    ]


def _probe(
    type_name: str,
    source: str,
    judge: _Judge,
    trigger: str | None = None,
    word: str = "",
    unended: Callable[[str], int | None] | None = None,
) -> Probe:
    pattern = Pattern(source)

    def find(view: View) -> Iterator[Finding]:
        for start, _, low, high in view.spans(pattern):
            if word and word not in view.text[max(0, start - CURL_REACH) : start]:
                continue
            sure = judge(view.text[low : min(high, low + JUDGED_CHARACTERS_MAX)])
            if sure is not None:
                yield Finding(type_name, low, high, sure, type_name)

    name = f"{type_name}#{len(source)}"
    return Probe(name, (type_name,), source, find, "words", trigger=trigger, unended=unended)


def _in_a_user(text: str) -> int | None:
    """Where the address begins that the text ends in, if that is in its user name."""
    at = text.rfind("://")
    scheme = _SCHEME.search(text, max(0, at - 42), at) if at > 0 else None
    return scheme.start() if scheme and _USER_GOES_ON.match(text, at + 3) else None


def _in_url(value: str) -> float | None:
    low = value.lower()
    if any(c in value for c in "{}<>$%") and not any(c.isdigit() for c in value):
        return None
    if (
        value[:1] in "${<%["
        or _STOCK.match(low)
        or low.startswith("placeholder_")
        or "***" in value
        or ("xxx" in low and len(value) <= FILLER_CHARACTERS_MAX)
    ):
        return None
    return 0.9


def _in_cut_url(value: str) -> float | None:
    return _in_url(value) if len(value) >= CUT_CHARACTERS_MIN else None


def _in_curl(value: str) -> float | None:
    if value[:1] in "${<%\\" or placeholder(value.split(":")[-1]):
        return None
    return 0.8 if len(value) >= 4 else None


def _in_header(value: str) -> float | None:
    if placeholder(value) or entropy(value) < 3.0:
        return None
    lower, upper, digits, _ = classes(value)
    return 0.85 if (digits or "=" in value) and (lower + upper) else None
