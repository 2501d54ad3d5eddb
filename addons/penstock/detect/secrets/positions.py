"""Passwords that no name announces: a file's format or a command says where they stand.

``.pgpass`` and ``.netrc`` lines, ``mysql -p…``, ``docker login -p``, ``sqlplus user/…@``, the
second argument of ``HTTPBasicAuth``. The finding covers the password alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.detect.probe import Probe
from penstock.detect.secrets.values import JUDGED_CHARACTERS_MAX, placeholder, score
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

_TYPE = "secret.password"
# host:port:database:user:password (PostgreSQL, "The Password File"); a bare * is any.
_PGPASS = (
    r"(?m:^(?:[0-9A-Za-z._/-]{1,255}|\*):(?:[0-9]{4,5}|\*):(?:[A-Za-z_][0-9A-Za-z_-]{0,62}|\*)"
    r":(?:[A-Za-z_][0-9A-Za-z_.-]{0,62}|\*):([^\s:]+)\r?$)"
)
# machine, login and password, on one line or several (GNU inetutils, "The .netrc file").
_NETRC = (
    r"\b(?:machine\s{1,40}[^\s]{1,255}|default)\s{1,40}"
    r"(?:(?:login|account)\s{1,40}[^\s]{1,128}\s{1,40}){1,2}password\s{1,40}([^\s]+)"
)
_REST = r"[^\n|;&]{0,300}?\s"
_QUOTED = r"[\"']?([^\s\"'|;&]{4,})"
# Options of one letter, by the manuals of the commands.
_COMMANDS = (
    # -p and the password without a blank: with one it would be the database
    rf"\b(?:mysql|mysqldump|mysqladmin|mysqlimport|mariadb|mariadb-dump)\s(?:{_REST})?-p{_QUOTED}",
    rf"\b(?:(?:docker|podman|az|oc|cf|helm registry|nerdctl|skopeo|buildah) login|sshpass"
    rf"|mongo(?:sh|dump|restore|import|export)?)\s(?:{_REST})?-p[ =]?{_QUOTED}",
    rf"\bredis-cli\s(?:{_REST})?-a\s{{1,3}}{_QUOTED}",
    rf"\blftp\s(?:{_REST})?-u\s{{1,3}}[^\s,\"']{{1,80}},{_QUOTED}",
    rf"\bsmbclient\s(?:{_REST})?-U\s{{1,3}}[\"']?[^\s%\"']{{1,80}}%{_QUOTED}",
    r"(?:\bsqlplus\s(?:-[A-Za-z]+\s){0,3}|jdbc:oracle:[a-z]{2,8}:)[\"']?[0-9A-Za-z_.$#-]{1,80}"
    r"/([^\s@/\"':]{4,})@",
    rf"\b(?:zip|unzip)\s(?:{_REST})?-P[ =]?{_QUOTED}",
    rf"\b7z[az]?\s(?:{_REST})?-p{_QUOTED}",
    rf"\bldap(?:search|add|modify|delete|passwd|whoami|modrdn|compare)\s(?:{_REST})?-w {_QUOTED}",
    rf"\b(?:ipmitool|impacket-[a-z]{{2,16}}|crackmapexec|netexec|evil-winrm)\s(?:{_REST})?-[pP] "
    rf"{_QUOTED}",
    rf"\bhtpasswd\s(?:-[A-Za-z0-9]{{1,8}}\s){{0,3}}-[A-Za-z]{{0,4}}b[A-Za-z]{{0,4}}\s"
    rf"(?:-[A-Za-z0-9]{{1,8}}\s){{0,3}}[^\s-][^\s]{{0,200}}\s[^\s]{{1,80}}\s{_QUOTED}",
    rf"(?i:\bnet use\s(?:{_REST})?/user:[^\s]{{1,80}}) {_QUOTED}",
    r"[\"' ][a-z_][0-9a-z_-]{0,31}:([^\s\"':|]{4,})[\"']?\s{0,3}\|\s{0,3}(?:sudo )?chpasswd",
)
# What takes a user's name and then the password, by the manuals of the libraries.
_ARGUMENT = r"(?:[A-Za-z@$_][0-9A-Za-z_.\[\]>-]{0,60}|@?\"[^\"\n]{0,200}\"|'[^'\n]{0,200}')"
_CALLS = (
    rf"\b(?:HTTPBasicAuth|HTTPDigestAuth|HttpNtlmAuth|BasicAuth|BasicCredentials|NetworkCredential"
    rf"|PSCredential|UsernamePasswordCredentials|UsernamePasswordAuthenticationToken"
    rf"|PasswordAuthentication|[sS]etBasicAuth|SetBasicAuth|basic_?[aA]uth|http_basic_auth"
    rf"|login|plain_auth|auth=|auth = |auth: )[(\[]\s?{_ARGUMENT},\s{{0,20}}@?"
    rf"[\"']([^\"'\s]{{4,}})[\"']",
    rf"\b(?:getConnection|PDO|mysqli(?:_connect)?|oci_connect|PlainAuth)\(\s?{_ARGUMENT},"
    rf"\s{{0,20}}{_ARGUMENT},\s{{0,20}}[\"']([^\"'\s]{{4,}})[\"']",
    # encrypted so that anybody can decrypt it (Cisco type 7, Juniper $9$)
    r"\b(?:password|secret|key|key-string) 7 ([0-9]{2}[0-9A-F]{6,})\b",
    r"(\$9\$[0-9A-Za-z./-]{6,})",
    r"\bsnmp-server community ([^\s\"']{4,})",
)
# Shorter values are documentation more often than not.
_NETRC_CHARACTERS_MIN = 4


def position_probes() -> list[Probe]:
    """Lines of password files, options of commands."""
    return [
        _probe("pgpass", _PGPASS, ":"),
        _probe("netrc", _NETRC, ""),
        *(_probe(f"command{number}", source, "-") for number, source in enumerate(_COMMANDS)),
        *(_probe(f"call{number}", source, "(") for number, source in enumerate(_CALLS)),
    ]


def _probe(name: str, source: str, operator: str) -> Probe:
    pattern = Pattern(source)

    def find(view: View) -> Iterator[Finding]:
        for _, _, low, high in view.spans(pattern):
            sure = _judge(view.text[low : min(high, low + JUDGED_CHARACTERS_MAX)], bool(operator))
            if sure is not None:
                yield Finding(_TYPE, low, high, sure, f"{_TYPE}#{name}")

    return Probe(f"{_TYPE}#{name}", (_TYPE,), source, find, "words", trigger=_TRIGGERS.get(name))


def _judge(value: str, could_be_else: bool) -> float | None:
    """The words of .netrc leave no doubt; elsewhere the value has to look like a password."""
    if not could_be_else:
        fine = len(value) >= _NETRC_CHARACTERS_MIN and not placeholder(value)
        return 0.8 if fine and not _WORD_OR_VARIABLE.match(value) else None
    if _REVERSIBLE.fullmatch(value):
        return 0.8
    return score(value, "password", False, True)


_REVERSIBLE = re.compile(r"\$9\$[0-9A-Za-z./-]{6,}|[0-9]{2}[0-9A-F]{6,}")
_WORD_OR_VARIABLE = re.compile(r"[$<%{]|[A-Z]?[a-z]+[.,;:!?]?$")
_TRIGGERS = {
    "call0": (
        r"(?:Auth|Credentials?|Token|basic_?auth|Authentication|login|plain_auth)\(\s?[@\"'A-Za-z$_]"
        r"[^\n]{1,200}[\"']|auth ?[=:] ?[(\[]"
    ),
    "pgpass": r"(?m:^[0-9A-Za-z._/*-]+:(?:[0-9]{4,5}|\*):[^\s:]+:[^\s:]+:[^\s:]+\r?$)",
    "netrc": r"(?:machine\s{1,40}[^\s]+|default)\s{1,40}(?:login|account)\s",
}
