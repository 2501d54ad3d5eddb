"""Private keys, JSON web tokens, and key material without a label.

A private key is found from its first header line to its last, also with JSON-escaped line
ends, quoted per line, or cut off before the end; encrypted and public blocks are told
apart by their label.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from itertools import pairwise

import re2

from penstock.detect.probe import Probe
from penstock.detect.secrets.randomness import classes, entropy, word_share
from penstock.detect.secrets.tokens import free_on_the_left
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

# RSA 16384 in PEM is 13 KB. So far away the END line of a key may stand whatever is in between;
# behind it a key goes on while nothing stands there that is in no key.
KEY_CHARACTERS_MAX = 24_000
_LABEL = r"(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?"
_BEGIN = r"-----BEGIN " + _LABEL + r"-----"
_END_MARK = "-----END "
_SSH2 = r"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----"
_PUTTY = r"PuTTY-User-Key-File-[23]: "
_PRIVATE_TAIL = r"-----END " + _LABEL + r"-----"
# A key in a growing text is held from its first line to its last.
_LIVE_KEY = (
    rf"(?:{_BEGIN}|{_SSH2}|{_PUTTY})[0-9A-Za-z+/=_:,;. \t\r\n\\\"'`*#>|()\[\]$&-]*---"
    rf"--END [A-Z0-9 ]*-----"
)
# What may stand between the lines of a key pasted into code, logs or JSON.
_KEY_RUN = re.compile(r"[0-9A-Za-z+/=_:,;. \t\r\n\\\"'`*#>|()\[\]$&-]*")
_BASE64_RUN = re.compile(r"[0-9A-Za-z+/=]{20,}")
# Whatever is no private key, and embedded media.
_OTHER = re2.compile(rb";base64,|-----BEGIN ([A-Z0-9 ]{0,47})")
_END = re.compile(r"\s*\Z")
PRIVATE_KEY = _TYPE = "secret.private_key"
END_LINE = re.compile(r"-----END [^-\n]{0,60}-----")
_SEGMENT = "[0-9A-Za-z_-]"
_JWT = rf"eyJ{_SEGMENT}{{8,}}\.ey{_SEGMENT}{{6,}}(?:\.{_SEGMENT}*)?"
_JWE = (
    rf"eyJ{_SEGMENT}{{20,}}\.{_SEGMENT}*\.{_SEGMENT}{{16,24}}\.{_SEGMENT}{{16,}}"
    rf"(?:\.{_SEGMENT}{{22}})?"
)
# The text ends in its header: certificates can make that long (RFC 7515, x5c).
_CUT_TOKEN = rf"eyJ{_SEGMENT}{{1000,}}\z"
CUT_CHARACTERS_MIN = 8192
# PEM wraps at 64 characters, OpenSSH at 70. A lone line of exactly that length is key
# material; MIME (76) and hashes in lock files (hex, 44, 88 characters) have other lengths.
_LINE = r"(?:^|[\s\"'`])([0-9A-Za-z+/]{64}|[0-9A-Za-z+/]{70})(?:$|[\s\"'`\\])"
_BEHIND_LINE = frozenset("\t\n\f\r \"'`\\")
_LINE_ENTROPY_BITS = 4.4
# A text with more such lines than a key has is an attachment, not a key.
_LINES_MAX = 400


def key_probes() -> list[Probe]:
    """Private keys, JWT and JWE, bare lines of key material."""
    return [
        Probe(_TYPE, (_TYPE,), f"{_BEGIN}|{_SSH2}|{_PUTTY}", _find_private_keys, live=_LIVE_KEY),
        Probe(_TYPE + "_end", (_TYPE,), _PRIVATE_TAIL, _find_tails, live=""),
        Probe("secret.jwt", ("secret.jwt",), _JWT, _find_jwt),
        Probe("secret.jwe", ("secret.jwt",), _JWE, _find_jwe),
        Probe("secret.jwt_cut", ("secret.jwt",), _CUT_TOKEN, _find_cut_token, live=""),
        Probe(
            "secret.key_material",
            ("secret.key_material",),
            _LINE,
            _find_lines,
            "runs",
            trigger=r"[0-9A-Za-z+/]{64}",
        ),
    ]


_begin = Pattern(f"{_BEGIN}|{_SSH2}|{_PUTTY}")
_tail = Pattern(_PRIVATE_TAIL)
_jwt = Pattern(_JWT)
_jwe = Pattern(_JWE)
_cut_token = Pattern(_CUT_TOKEN)
_line = Pattern(r"(?:^|[\s\"'`])([0-9A-Za-z+/]{70}|[0-9A-Za-z+/]{64})")


def _find_private_keys(view: View) -> Iterator[Finding]:
    done = -1
    begins = [(start, end) for start, end, _, _ in view.spans(_begin)]
    for (start, end), (following, _) in pairwise([*begins, (len(view.text), 0)]):
        if start < done:
            continue
        stop = _key_end(view.text, end, following)
        if _END.match(view.text, end):
            yield Finding(_TYPE, start, end, 0.6, _TYPE)  # the key follows elsewhere
        elif _holds_key(view.text[end:stop]):
            yield Finding(_TYPE, start, stop, 1.0, _TYPE)
            done = stop


def _holds_key(body: str) -> bool:
    """True when a run of base64 stands in the body: documentation has words or dots there."""
    runs = _BASE64_RUN.findall(body[:4000])
    return any(word_share(run) <= 0.4 and entropy(run) >= 3.0 for run in runs)


def _key_end(text: str, body: int, following: int) -> int:
    """Where the key that starts its body at ``body`` ends: its END line, or its last line.

    ``following`` is where the next private key begins: so no character is read twice.
    """
    other = text.find("-----BEGIN ", body, following)
    limit = other if other >= 0 else following
    run = _KEY_RUN.match(text, body, limit)
    stop = run.end() if run else body
    mark = text.find(_END_MARK, body, min(limit, max(stop, body + KEY_CHARACTERS_MAX)))
    if mark >= 0:
        close = text.find("-----", mark + len(_END_MARK), mark + 80)
        return close + 5 if close >= 0 else mark
    while stop > body and text[stop - 1].isspace():
        stop -= 1
    return stop


def in_a_key(text: str) -> int:
    """Up to where the text holds nothing that stands in no key."""
    run = _KEY_RUN.match(text)
    return run.end() if run else 0


def _find_tails(view: View) -> Iterator[Finding]:
    """The end of a key whose beginning is elsewhere (a log line, a split message)."""
    for start, end, _, _ in view.spans(_tail):
        if "-----BEGIN " not in view.text[max(0, start - KEY_CHARACTERS_MAX) : start]:
            yield Finding(_TYPE, start, end, 0.6, _TYPE + "_end")


def _find_jwt(view: View) -> Iterator[Finding]:
    for start, end, _, _ in view.spans(_jwt):
        header = _json_segment(view.text[start:end].split(".")[0])
        if header is not None and free_on_the_left(view.text, start):
            score = 1.0 if "alg" in header or "enc" in header or "typ" in header else 0.7
            yield Finding("secret.jwt", start, end, score, "secret.jwt")


def _find_jwe(view: View) -> Iterator[Finding]:
    for start, end, _, _ in view.spans(_jwe):
        header = _json_segment(view.text[start:end].split(".")[0])
        if header is not None and "enc" in header:
            yield Finding("secret.jwt", start, end, 1.0, "secret.jwe")


def _find_cut_token(view: View) -> Iterator[Finding]:
    for start, end, _, _ in view.spans(_cut_token):
        if end - start >= CUT_CHARACTERS_MIN and free_on_the_left(view.text, start):
            begun = base64.urlsafe_b64decode(view.text[start : start + CUT_CHARACTERS_MIN])
            if b'"alg"' in begun or b'"enc"' in begun or b'"x5c"' in begun:
                yield Finding("secret.jwt", start, end, 0.7, "secret.jwt_cut")


def _json_segment(segment: str) -> dict[str, object] | None:
    """A base64url segment as a JSON object, None when it is not one."""
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _find_lines(view: View) -> Iterator[Finding]:
    text = view.text
    # What stands behind a line is looked at and not taken: the next begins with it.
    lines = [
        (low, high)
        for _, _, low, high in view.spans(_line)
        if high == len(text) or text[high] in _BEHIND_LINE
    ]
    if not lines or len(lines) > _LINES_MAX or _public(view):
        return
    for low, high in lines:
        value = text[low:high]
        lower, upper, digits, _ = classes(value)
        random = word_share(value) <= 0.3 and entropy(value) >= _LINE_ENTROPY_BITS
        if min(lower, upper) >= 8 and digits and random and "abcdefgh" not in value.lower():
            yield Finding("secret.key_material", low, high, 0.6, "secret.key_material")


def _public(view: View) -> bool:
    """True when the text shows a block that is public by its label, or embedded media."""
    return any(b"PRIVATE" not in (match[1] or b"") for match in _OTHER.finditer(view.data))
