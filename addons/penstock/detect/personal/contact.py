"""How to reach somebody: mail addresses, phone numbers, IP and MAC addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import pairwise

from penstock.detect.nearby import bare, word_near
from penstock.detect.personal.nobody import (
    MADE_UP_SCORE,
    address_of_nobody,
    line_of_a_company,
    mailbox_of_nobody,
)
from penstock.detect.probe import Find, Probe
from penstock.detect.secrets.values import words
from penstock.detect.view import CANDIDATES_MAX, Pattern, View
from penstock.exchange import Finding

_DOMAIN_SOURCE = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.){1,8}(?:xn--[A-Za-z0-9-]{2,"
    r"59}|[A-Za-z]{2,24})"
)
_MAIL = rf"[A-Za-z0-9_%+][A-Za-z0-9._%+'-]{{0,63}}@{_DOMAIN_SOURCE}"
_DOMAIN = re.compile(_DOMAIN_SOURCE)
_LOCAL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+'-")
# "icon@2x.png" and "pkg@next.js" are files, not mail addresses.
_NO_TOP_LEVEL = words("png jpg jpeg gif svg webp ico css js ts json html py md txt map min")
# Fewer digits in a row count up by chance.
COUNTING_MIN = 7
_IPV4 = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
_IPV6 = r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{1,4})?"
_MAC = r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}"
# One digit in front of a sign, not all: an automaton that counts them has four times the states.
_MAC_TRIGGER = (
    r"[0-9A-Fa-f][:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]"
    r"|[0-9A-Fa-f]\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]"
)
_NETWORK_WORDS = (
    "ip",
    "address",
    "host",
    "loopback",
    "gateway",
    "server",
    "interface",
    "ping",
    "connect",
    "multicast",
    "src",
    "dst",
    "from",
    "[",
)
_VERSION_WORDS = ("version", "release", "ver.", "v.", "chrome/", "build", "section", "python")

_EXTENSION = r"(?: ?(?:x|ext\.?|extension) ?[0-9]{1,6})?"
_INTERNATIONAL = (
    r"\+[1-9][0-9]{0,2}[ .-]?(?:\(0?[0-9]{0,4}\)[ .-]?)?[0-9]{1,5}(?:[ .-]?[0-9]{2,5}){1,4}"
    + _EXTENSION
)
_AMERICAN = (
    r"(?:\b(?:\+?0{0,2}1)[ .-])?(?:\([0-9]{3}\) ?|\b[0-9]{3}[.-])[0-9]{3}[.-][0-9]{4}" + _EXTENSION
)
_PAIRS = r"\b[2-9][0-9]{2}[ .-][0-9]{3}[ .-][0-9]{2}[ .-][0-9]{2}\b"
_AREA = r"\([0-9]{2,5}\) ?[0-9]{2,5}(?:[ -][0-9]{2,5}){1,3}" + _EXTENSION
# National forms that nothing else is written in: 0 and an area in groups with dashes (Japan,
# Korea), 0 and nine digits in pairs (France).
_TRUNK = r"\b0(?:[0-9]{1,3}-[0-9]{3,4}-[0-9]{4}|[1-9](?:[ .][0-9]{2}){4})\b"
# After a word like "phone": digits in groups, as written anywhere in the world.
_LOOSE = r"\+?\(?[0-9]{1,14}\)?(?:[ ./-]{1,3}\(?[0-9]{1,8}\)?){0,6}" + _EXTENSION
# RE2 knows the edges of ASCII words only: what begins or ends otherwise stands without.
_PHONE_WORD = (
    r"(?i:\b(?:phone|tel|tél|telephone|telefon|teléfono|téléphone|telefono|telefone|telefoon|telefonu|"
    r"mobile|mobil|mobiel|mob|cell|cel|cellphone|cellulare|celular|móvil|movil|telemóvel|telemovel|"
    r"portable|gsm|handy|tlf|puh|puhelin|fax|desk|office|whatsapp|sms|call|calling|dial|reach|answering|"
    r"messages|numero|numéro|número|nomor|number|(?:telefon|handy|mobil|ruf|telefoon)nummer)\b"
    r"|전화|연락처|휴대폰|電話|携帯|手机|手機|电话|телефон|тел\.|мобильный|номер|τηλέφωνο|κινητό|טלפון"
    r"|هاتف|جوال|मोबाइल|फ़ोन|โทร|điện thoại|telefonszám)"
)
# How far behind its word a phone number may stand, and how far in front of a trailing one.
PHONE_REACH = 28
_NAMED = rf"({_PHONE_WORD}[^0-9+(]{{0,{PHONE_REACH}}})({_LOOSE})"
_NAMED_TRIGGER = rf"{_PHONE_WORD}[^0-9+(]{{0,{PHONE_REACH}}}[+(]{{0,2}}[0-9][ ()./-]{{0,2}}[0-9]"
_FOLLOWED = rf"({_LOOSE})[ ,–-]{{1,3}}(?i:office|fax|mobile|cell|desk|home|work|phone)\b"
# Words that also stand before other numbers: what follows must look like a phone number.
_VAGUE = (
    "call",
    "calling",
    "number",
    "numero",
    "numéro",
    "número",
    "nomor",
    "номер",
    "portable",
    "reach",
    "office",
    "desk",
    "messages",
    "answering",
    "cell",
    "dial",
)


def contact_probes() -> list[Probe]:
    """Mail, IP, MAC, phone."""
    return [
        Probe("pii.email", ("pii.email",), _MAIL, _mail, trigger=r"@[0-9A-Za-z]"),
        Probe("pii.ip", ("pii.ip",), _IPV4, _ipv4, trigger=r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"),
        Probe(
            "pii.ip#6",
            ("pii.ip",),
            _IPV6,
            _ipv6,
            trigger=r"[0-9A-Fa-f]::?[0-9A-Fa-f]{1,4}:|::[0-9A-Fa-f]",
        ),
        Probe("pii.mac", ("pii.mac",), _MAC, _mac, trigger=_MAC_TRIGGER),
        Probe(
            "pii.phone", ("pii.phone",), _INTERNATIONAL, _phone_finder(_INTERNATIONAL, 8), "digits"
        ),
        Probe("pii.phone#us", ("pii.phone",), _AMERICAN, _phone_finder(_AMERICAN, 10), "digits"),
        Probe("pii.phone#area", ("pii.phone",), _AREA, _phone_finder(_AREA, 7), "digits"),
        Probe("pii.phone#pairs", ("pii.phone",), _PAIRS, _phone_finder(_PAIRS, 10), "digits"),
        Probe("pii.phone#trunk", ("pii.phone",), _TRUNK, _phone_finder(_TRUNK, 9), "digits"),
        Probe("pii.phone#word", ("pii.phone",), _NAMED, _named_phones, "digits", _NAMED_TRIGGER),
        Probe(
            "pii.phone#followed",
            ("pii.phone",),
            _FOLLOWED,
            _followed_phones,
            "digits",
            r"[0-9][ ,–-]{1,3}(?i:office|fax|mobile|cell|desk|home|work|phone)",
        ),
        Probe("pii.phone#bare", ("pii.phone",), "0", _bare_phone, "short", live=""),
    ]


_ipv4_pattern = Pattern(_IPV4)
_ipv6_pattern = Pattern(_IPV6)
_mac_pattern = Pattern(_MAC)
_named_pattern = Pattern(_NAMED)
_followed_pattern = Pattern(_FOLLOWED)


def _mail(view: View) -> Iterator[Finding]:
    text = view.text
    at = text.find("@")
    done = 0  # where the last address ends: no two share a character
    count = 0
    while at >= 0:
        count += 1
        if count > CANDIDATES_MAX:
            view.leave(at)
            return
        domain = _DOMAIN.match(text, at + 1)
        start = at
        while start > max(done, at - 64) and text[start - 1] in _LOCAL:
            start -= 1
        while start < at and text[start] in ".-'":
            start += 1
        if domain is not None and start < at and _is_mail(text, start, at, domain.end()):
            nobody = mailbox_of_nobody(text[start:at], domain.group())
            score = MADE_UP_SCORE if nobody else 0.95
            yield Finding("pii.email", start, domain.end(), score, "pii.email")
            done = domain.end()
        at = text.find("@", at + 1)


def _is_mail(text: str, start: int, at: int, end: int) -> bool:
    top = text[at + 1 : end].rsplit(".", 1)[1].lower()
    if top in _NO_TOP_LEVEL or ".." in text[start:at] or text[at - 1] == ".":
        return False
    if text[start:at] == "git" and text[end : end + 1] in (":", "/"):
        return False
    if start and text[start - 1] in ":/" and "://" in text[max(0, start - 60) : start]:
        # User information of a URL is the URL rule's business.
        return "mailto:" in text[max(0, start - 8) : start]
    return True


def _alone(text: str, start: int, end: int, also: str = "") -> bool:
    """True when no letter, digit or character of ``also`` touches the span."""
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    return not (before.isalnum() or before in also or after.isalnum() or after in also)


def _ipv4(view: View) -> Iterator[Finding]:
    text = view.text
    for start, end, _, _ in view.spans(_ipv4_pattern):
        parts = text[start:end].split(".")
        if any(int(part) > 255 or (len(part) > 1 and part[0] == "0") for part in parts):
            continue
        if not _alone(text, start, end, "_") or _goes_on(text, end):
            continue
        if _not_personal(parts):
            if bare(text, start, end):  # handed over as a value: of interest, if of nobody
                yield Finding("pii.ip", start, end, 0.4, "pii.ip")
        elif not _looks_like_a_version(text, start, end, parts):
            made_up = counting("".join(parts)) or address_of_nobody(text[start:end])
            yield Finding("pii.ip", start, end, MADE_UP_SCORE if made_up else 0.8, "pii.ip")


def counting(digits: str) -> bool:
    """True for digits that count up or down, or repeat: somebody made the value up."""
    steps = {(int(b) - int(a)) % 10 for a, b in pairwise(digits)}
    if steps in ({1}, {9}):
        return len(digits) >= COUNTING_MIN
    third = len(digits) // 4
    return len(digits) >= COUNTING_MIN and len(digits) % 4 == 0 and digits == digits[:third] * 4


def _looks_like_a_version(text: str, start: int, end: int, parts: list[str]) -> bool:
    """Four numbers with dots are also a version or a section, unless a word says address."""
    network = word_near(text, start, end, _NETWORK_WORDS)
    before = text[start - 1] if start else " "
    if before in ".-^~=v" and not network:
        return True
    if before == ":" and not network and "::" not in text[max(0, start - 8) : start]:
        return True
    if word_near(text, start, start, _VERSION_WORDS, 14):
        return True
    return all(len(part) == 1 for part in parts) and not (network or bare(text, start, end))


def _not_personal(parts: list[str]) -> bool:
    """Private, link-local, mask and unspecified addresses point at nobody (RFC 1918, 6890)."""
    first, second = int(parts[0]), int(parts[1])
    return (
        first in (0, 10, 255)
        or (first == 192 and second == 168)
        or (first == 172 and 16 <= second <= 31)
        or (first == 169 and second == 254)
    )


def _ipv6(view: View) -> Iterator[Finding]:
    text = view.text
    for start, end, _, _ in view.spans(_ipv6_pattern):
        value = text[start:end]
        if not _alone(text, start, end) or _goes_on(text, end):
            continue
        try:
            ipaddress.IPv6Address(value)
        except ValueError:
            continue
        filled = [group for group in value.split(":") if group]
        if len(filled) < 4 and not (
            word_near(text, start, end, _NETWORK_WORDS) or bare(text, start, end)
        ):
            continue  # a slice like [::2], a scope like a::b
        yield Finding("pii.ip", start, end, 0.8, "pii.ip")


def _goes_on(text: str, end: int) -> bool:
    """A dot and a digit follow: the match is the beginning of something longer."""
    return text[end : end + 1] == "." and text[end + 1 : end + 2].isdigit()


def _mac(view: View) -> Iterator[Finding]:
    for start, end, _, _ in view.spans(_mac_pattern):
        digits = {c for c in view.text[start:end].lower() if c.isalnum()}
        separators = {c for c in view.text[start:end] if not c.isalnum()}
        if len(digits) > 1 and len(separators) == 1 and _alone(view.text, start, end, ":-"):
            yield Finding("pii.mac", start, end, 0.8, "pii.mac")


def _phone_finder(source: str, least: int) -> Find:
    pattern = Pattern(source)

    def find(view: View) -> Iterator[Finding]:
        for start, end, _, _ in view.spans(pattern):
            finding = _phone(view.text, start, end, least, 0.7)
            if finding is not None:
                yield finding

    return find


def _phone(text: str, start: int, end: int, least: int, sure: float) -> Finding | None:
    digits = [c for c in re.split("x|ext", text[start:end])[0] if c.isdigit()]
    if not least <= len(digits) <= 16 or len(set(digits)) < 3:
        return None
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    if before.isalnum() or before in "_/=%.-" or after.isalnum() or after in "_%/":
        return None
    if after in ".-" and text[end + 1 : end + 2].isdigit():
        return None
    if line_of_a_company(text, start, end):
        sure = MADE_UP_SCORE
    return Finding("pii.phone", start, end, sure, "pii.phone")


def _named_phones(view: View) -> Iterator[Finding]:
    text = view.text
    for start, end, _, word_end in view.spans(_named_pattern):
        number = text[word_end:end]
        word = re.split(r"[^\w]", text[start:word_end].lower())[0]
        amount = re.search(r"[.,/][0-9]{1,2}$", number) is not None
        if word in _VAGUE and (amount or (number.isdigit() and len(number) < 7)):
            continue
        yield from _loose_phone(text, word_end, end)


def _followed_phones(view: View) -> Iterator[Finding]:
    for _, _, low, high in view.spans(_followed_pattern):
        yield from _loose_phone(view.text, low, high)


def _loose_phone(text: str, start: int, end: int) -> Iterator[Finding]:
    number = text[start:end]
    digits = sum(c.isdigit() for c in number.split("x")[0])
    if number.isdigit() and counting(number):
        return  # 1234567890 after "number": made up
    if not 6 <= digits <= 15 or (digits == len(number) and digits < 7):
        return
    if not _looks_like_a_date(number):
        finding = _phone(text, start, end, 6, 0.6)
        if finding is not None:
            yield finding


def _looks_like_a_date(number: str) -> bool:
    return (
        re.fullmatch(r"(?:19|20)?[0-9]{2}[-/.][0-9]{1,2}[-/.](?:19|20)?[0-9]{2}", number)
        is not None
    )


def _bare_phone(view: View) -> Iterator[Finding]:
    text = view.text.strip()
    if any(char.isalpha() for char in text):
        return
    if len(text) <= 20 and sum(c.isdigit() for c in text) == 11 and text[1] not in "01":
        start = view.text.index(text)
        yield Finding("pii.phone", start, start + len(text), 0.5, "pii.phone")
