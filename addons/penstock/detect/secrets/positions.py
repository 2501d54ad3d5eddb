"""Passwords that no name announces: a file's format or a command says where they stand.

``.pgpass`` and ``.netrc`` lines, ``mysql -p…``, ``docker login -p``, ``sqlplus user/…@``. The
finding covers the password alone.
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
)
# Shorter values are documentation more often than not.
_NETRC_CHARACTERS_MIN = 4


def position_probes() -> list[Probe]:
    """Lines of password files, options of commands."""
    return [
        _probe("pgpass", _PGPASS, ":"),
        _probe("netrc", _NETRC, ""),
        *(_probe(f"command{number}", source, "-") for number, source in enumerate(_COMMANDS)),
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
    return score(value, "password", False, True)


_WORD_OR_VARIABLE = re.compile(r"[$<%{]|[A-Z]?[a-z]+[.,;:!?]?$")
_TRIGGERS = {
    "pgpass": r"(?m:^[0-9A-Za-z._/*-]+:(?:[0-9]{4,5}|\*):[^\s:]+:[^\s:]+:[^\s:]+\r?$)",
    "netrc": r"(?:machine\s{1,40}[^\s]+|default)\s{1,40}(?:login|account)\s",
}
