"""How to reach somebody: mail addresses, phone numbers, IP and MAC addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from penstock.detect.nearby import bare, word_near
from penstock.detect.probe import Find, Probe
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

_MAIL = r"[A-Za-z0-9_%+][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.){1,8}(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24})"
# "icon@2x.png" and "pkg@next.js" are files, not mail addresses.
_NO_TOP_LEVEL = frozenset(
    "png jpg jpeg gif svg webp ico css js ts json html py md txt map min".split()
)
_IPV4 = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}"
_IPV6 = r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{1,4})?"
_MAC = r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}"
_MAC_TRIGGER = r"[0-9A-Fa-f][:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]"
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
# After a word like "phone": digits in groups, as written anywhere in the world.
_LOOSE = r"\+?\(?[0-9]{1,14}\)?(?:[ ./-]{1,2}\(?[0-9]{1,8}\)?){0,6}" + _EXTENSION
_PHONE_WORD = (
    r"(?i:\b(?:phone|tel|telephone|telefon|teléfono|téléphone|telefono|telefone|mobile|mobil|cell|"
    r"cellphone|handy|fax|desk|office|whatsapp|sms|call|calling|dial|reach|answering|messages|"
    r"celular|numero|number|전화|電話|电话|телефон)\b)"
)
_LOOSE_TRIGGER = r"[0-9](?:[ ()./-]{0,3}[0-9]){5}"
_PHONE_WORDS = re.compile(_PHONE_WORD)
# How far behind its word a phone number may stand, and how far in front of a trailing one.
PHONE_REACH = 28
_AFTER = re.compile(r"(?i)^[ \-–,]{1,3}(?:office|fax|mobile|cell|desk|home|work|phone)")


def contact_probes() -> list[Probe]:
    """Mail, IP, MAC, phone."""
    loose = rf"{_PHONE_WORD}[^0-9+(]{{0,{PHONE_REACH}}}{_LOOSE}"
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
        Probe("pii.phone#word", ("pii.phone",), loose, _loose_phones, "digits", _LOOSE_TRIGGER),
        Probe("pii.phone#bare", ("pii.phone",), "0", _bare_phone, "short", live=""),
    ]


_mail_pattern = Pattern(_MAIL)
_ipv4_pattern = Pattern(_IPV4)
_ipv6_pattern = Pattern(_IPV6)
_mac_pattern = Pattern(_MAC)
_loose_pattern = Pattern(_LOOSE)


def _mail(view: View) -> Iterator[Finding]:
    text = view.text
    for start, end, _, _ in view.spans(_mail_pattern):
        address = text[start:end]
        top = address.rsplit(".", 1)[1].lower()
        if top in _NO_TOP_LEVEL or ".." in address:
            continue
        if address.startswith("git@") and text[end : end + 1] in (":", "/"):
            continue
        if text[max(0, start - 3) : start].endswith("://") or (start and text[start - 1] in ":/"):
            if (
                "://" in text[max(0, start - 60) : start]
                and "mailto:" not in text[max(0, start - 8) : start]
            ):
                continue  # user information of a URL: the URL rule's business
        yield Finding("pii.email", start, end, 0.95, "pii.email")


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
        if (
            not _alone(text, start, end, "_")
            or text[end : end + 2][:1] == "."
            and text[end + 1 : end + 2].isdigit()
        ):
            continue
        if (
            start
            and text[start - 1] in ".:-^~=v"
            and not word_near(text, start, end, _NETWORK_WORDS)
        ):
            if text[start - 1] != ":" or "::" not in text[max(0, start - 8) : start]:
                continue
        if _not_personal(parts):
            continue
        if (
            word_near(text, start, start, _VERSION_WORDS, 14)
            or all(len(part) == 1 for part in parts)
            and not (word_near(text, start, end, _NETWORK_WORDS) or bare(text, start, end))
        ):
            continue
        yield Finding("pii.ip", start, end, 0.8, "pii.ip")


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
    return Finding("pii.phone", start, end, sure, "pii.phone")


def _loose_phones(view: View) -> Iterator[Finding]:
    text = view.text
    for start, end, _, _ in view.spans(_loose_pattern):
        number = text[start:end]
        digits = sum(c.isdigit() for c in number.split("x")[0])
        if not 6 <= digits <= 15 or (digits == len(number) and digits < 7):
            continue
        line = text[max(0, start - PHONE_REACH - 12) : start]
        near = [m for m in _PHONE_WORDS.finditer(line)]
        named = (
            bool(near)
            and len(line) - near[-1].end() <= PHONE_REACH
            and not any(c.isdigit() for c in line[near[-1].end() :])
        )
        if not named and not _AFTER.match(text[end : end + 12]):
            continue
        if (
            named
            and near[-1].group().lower()
            in (
                "call",
                "calling",
                "number",
                "numero",
                "reach",
                "office",
                "desk",
                "messages",
                "answering",
                "cell",
                "dial",
            )
            and (
                digits < 7
                and number.isdigit()
                or re.search(r"[.,/][0-9]{1,2}$", number) is not None
            )
        ):
            continue
        if _looks_like_a_date(number):
            continue
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
    if len(text) <= 20 and sum(c.isdigit() for c in text) == 11 and text[1] not in "01":
        start = view.text.index(text)
        yield Finding("pii.phone", start, start + len(text), 0.5, "pii.phone")
