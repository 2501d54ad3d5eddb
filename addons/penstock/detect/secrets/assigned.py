"""The value behind an assignment: where it begins and ends, in quotes or bare.

Quoting differs by language (Go, YAML, XML attributes, command lines, SQL, JSON inside a
string, prose), so the value is read by hand. It has no greatest length: it is taken whole,
because what stands behind a bound would leave. Each reader goes over a character once.
"""

from __future__ import annotations

import re

# What may stand between the operator and the value: an opening bracket, a sign of C# or Perl, the
# end of what Markdown prints bold.
_LEAD = re.compile(r"(?:[ \t@(]|\{(?=[\"'])|\*{1,2}(?=[ \t])){0,8}")
_OPENERS = "\"'`"
_PREFIXED = re.compile(r"[bfruLN$](?=[\"'])")
# What closes a value, and what it holds up to there: never a line end, and a quote only
# behind a backslash. In text that is itself a string in quotes every quote has one, and
# those inside of it have three.
_CLOSED = {
    close: re.compile(inside)
    for close, inside in {
        '"': r'(?:[^"\\\n]|\\.)*+',
        "'": r"(?:[^'\\\n]|\\.)*+",
        "`": r"(?:[^`\\\n]|\\.)*+",
        '\\"': r'(?:\\\\\\"|\\\\|\\[^"\\\n]|[^\\\n])*+',
        "\\'": r"(?:\\\\\\'|\\\\|\\[^'\\\n]|[^\\\n])*+",
        '"""': r'(?:(?!""")[^\n])*+',
        "'''": r"(?:(?!''')[^\n])*+",
        "&quot;": r"(?:(?!&quot;)[^\n])*+",
    }.items()
}
# Longest first: three quotes begin with one.
_CLOSERS = sorted(_CLOSED, key=len, reverse=True)
# A bare value ends at white space, a quote, a separator, and at & where a query goes on.
_BARE = re.compile(r"(?:[^ \t\r\n\"'`<>;,|\\&]++|&(?!.{0,38}=))*+", re.DOTALL)
# A password or token holds no white space. Behind so many characters without any it is what
# ends the value, in front of them it says that the text in quotes is a sentence.
UNBROKEN_CHARACTERS = 128
_WHITE = re.compile(r"[ \t]")
# The same for what is no value behind a name, such as a token: it has no & for the next. An
# escape stands for its character: the value goes on behind a dot (and a
# backslash, which may begin an escape of its own), and ends at a quote.
_TOKEN = re.compile(
    r"(?:[^\s\"'`<>;,|\\]++"
    r"|\\u(?!00(?:[01][0-9A-Fa-f]|2[027Cc]|3[BbCcEe]|60|7[Cc]))[0-9A-Fa-f]{4})*+"
)

# The same as a pattern for the beginnings of a value in a growing text (see pattern.live).
LIVE_VALUE = (
    r"[@({* \t]{0,8}[bfruLN$]?(?:"
    r"\"\"\"[^\s]*|'''[^\s]*|&quot;[^\s]*"
    r"|\"(?:[^\"\\\s]|\\[^\s])*|'(?:[^'\\\s]|\\[^\s])*|`(?:[^`\\\s]|\\[^\s])*"
    r"|\\\"(?:\\\\\\\"|\\\\|\\[^\"\\\s]|[^\\\s])*|\\'(?:\\\\\\'|\\\\|\\[^'\\\s]|[^\\\s])*"
    r"|[^\s\"'`<>;,|\\]*)"
)


def closed_by(text: str, low: int) -> str | None:
    """What closes the value that starts at ``low``; None when it stands in no quotes."""
    return next((close for close in _CLOSERS if text.endswith(close, 0, low)), None)


def token_end(text: str) -> int:
    """Where a token ends whose beginning stood before ``text``."""
    inside = _TOKEN.match(text)
    return inside.end() if inside else 0


def quoted_end(text: str, close: str) -> int:
    """Where a value in quotes ends whose beginning stood before ``text``."""
    inside = _CLOSED[close].match(text)
    end = inside.end() if inside else 0
    white = _WHITE.search(text, 0, end)
    return white.start() if white else end


class ValueReader:
    """Reads the values of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._run = (0, 0)  # the bare run that was read last

    def read(self, at: int) -> tuple[int, int, bool] | None:
        """The value that starts at ``at``: (start, end, stood in quotes), None without one."""
        text = self._text
        lead = _LEAD.match(text, at)
        at = lead.end() if lead else at
        if at and text[at - 1] in _OPENERS:
            at -= 1  # the pattern ended with the opening quote
        if at > 1 and text[at - 1] == "\\" and text[at : at + 1] in ("'", '"'):
            at -= 1
        if _PREFIXED.match(text, at):
            at += 1
        for close in _CLOSERS:
            if text.startswith(close, at):
                return self._quoted(at + len(close), close)
        return self._bare(at)

    def _quoted(self, low: int, close: str) -> tuple[int, int, bool] | None:
        text = self._text
        inside = _CLOSED[close].match(text, low)
        high = inside.end() if inside else low
        while high > low and text[high - 1] in "\\\r ":
            high -= 1
        while low < high and text[low] == " ":
            low += 1
        white = _WHITE.search(text, low + UNBROKEN_CHARACTERS, high)
        high = white.start() if white else high
        return (low, high, True) if high > low else None

    def _bare(self, low: int) -> tuple[int, int, bool] | None:
        """Whoever asks for the middle of a run gets its end without reading it again."""
        text = self._text
        if not self._run[0] <= low < self._run[1]:
            run = _BARE.match(text, low)
            self._run = (low, run.end() if run else low)
        high = self._run[1]
        if text[high : high + 1] and text[high] in "([":
            return None
        while high > low and text[high - 1] in ").]}:":
            high -= 1
        return (low, high, False) if high > low else None
