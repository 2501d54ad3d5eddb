"""Answers that would do harm where they are used: in a shell, a database, a web page.

Which of these matters depends on what the application does with an answer, which only its
owner knows: nothing is looked for unless a policy names the sink. The patterns know
constructs that destroy, fetch and run, or break out of a value; they are no parser, and an
answer without a finding is not therefore safe to run.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.detect.probe import Probe
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

SHELL, SQL, HTML = "unsafe.shell", "unsafe.sql", "unsafe.html"

_PATH = (
    r"(?:[/~]|~?/\*|~/|\$\{?HOME\}?/?\*?|\.\.?/?|\*"
    r"|/(?:etc|usr|var|home|boot|bin|lib|opt|root)[^\s;|&]{0,80})"
)
_SHELL = (
    # deletes everything below a root
    rf"\brm\s{{1,4}}(?:-[a-zA-Z-]{{1,20}}\s{{1,4}}){{1,4}}[\"']?{_PATH}[\"']?(?:[\s;|&`)]|$)",
    r"\bmkfs(?:\.[a-z0-9]{2,8})?\s{1,4}[^\n;|&]{0,60}/dev/[a-z]",
    r"\bdd\s[^\n;|&]{0,120}\bof=/dev/(?:sd|hd|nvme|vd|xvd|disk|mmcblk)",
    r">\s{0,3}/dev/(?:sd|hd|nvme|vd|xvd|mmcblk)[a-z0-9]{0,8}",
    r":\(\)\s{0,2}\{\s{0,2}:\s{0,2}\|\s{0,2}:\s{0,2}&\s{0,2}\}\s{0,2};",
    r"\bchmod\s{1,4}(?:-[a-zA-Z]{1,6}\s{1,4}){0,3}0?777\s{1,4}/(?:[\s;|&]|$)",
    # fetches and runs
    r"\b(?:curl|wget|fetch)\s[^\n|;]{0,300}\|\s{0,3}(?:sudo\s{1,3}(?:-[a-zA-Z]{1,4}\s{1,3}){0,2})?"
    r"(?:/usr)?(?:/bin/)?(?:env\s{1,3})?(?:ba|z|da|k|fi)?sh\b",
    r"\b(?:curl|wget)\s[^\n|;]{0,300}\|\s{0,3}(?:sudo\s{1,3})?(?:python|perl|ruby|node|php)[0-9.]{0,5}\b",
    r"\b(?:ba|z|da)?sh\s{1,3}(?:-c\s{1,3})?[\"']?(?:<\(|\$\(|`)\s{0,3}(?:curl|wget)\b",
    r"\beval\s{1,3}[\"']?(?:\$\(|`)\s{0,3}(?:curl|wget|base64|echo)\b",
    r"\bbase64\s{1,3}(?:-d|-D|--decode)\b[^\n|;]{0,80}\|\s{0,3}(?:sudo\s{1,3})?(?:ba|z|da)?sh\b",
    # opens a door
    r"(?:>&|<>?|<&)\s{0,2}/dev/(?:tcp|udp)/[^\s/]{1,100}/[0-9]{1,5}",
    r"\b(?:nc|ncat|netcat)\s[^\n;|&]{0,100}-(?:e|c)\s{1,3}[\"']?(?:/bin/|cmd|powershell)",
    r"(?i:\bpowershell(?:\.exe)?\s[^\n;|]{0,160}-e(?:nc(?:odedcommand)?)?\s{1,3}[A-Za-z0-9+/=]{16,})",
    r"(?i:\b(?:iex|invoke-expression)\b[^\n;]{0,60}(?:new-object\s{1,3}net\.webclient|invoke-webrequest|downloadstring|\biwr\b))",
    r"(?i:\bformat\s{1,3}[a-z]:\s{0,3}/[a-z]|\bdel\s{1,3}(?:/[a-z]\s{1,3}){1,4}[a-z]:\\)",
    r"(?:authorized_keys|/etc/(?:passwd|shadow|sudoers|crontab|ld\.so\.preload))[\"']?\s{0,3}(?:<<|EOF)"
    r"|>>?\s{0,3}[\"']?(?:~|/root|/home/[^\s/]{1,40}|\$HOME)?(?:/\.ssh/authorized_keys"
    r"|/etc/(?:passwd|shadow|sudoers|crontab|ld\.so\.preload))",
)
_SQL = (
    r"(?i:\bdrop\s{1,4}(?:table|database|schema|view|user|role)\s{1,4}(?:if\s{1,4}exists\s{1,4})?[\"'`\[]?[a-z_*])",
    r"(?i:\btruncate\s{1,4}table\s{1,4}[\"'`\[]?[a-z_])",
    # deletes or changes every row: no condition before the statement ends
    r"(?i:\bdelete\s{1,4}from\s{1,4}[\"'`\[]?[a-z_][a-z0-9_.$\"'`\]]{0,80}\s{0,4}(?:;|--))",
    r"(?i:\bupdate\s{1,4}[\"'`\[]?[a-z_][a-z0-9_.\"'`\]]{0,80}\s{1,4}set\s{1,4}[^;\n]{1,200}\bwhere\s{1,4}1\s{0,3}=\s{0,3}1)",
    # breaks out of a value
    r"(?i:['\"]\s{0,4}\)?\s{0,4}(?:or|and)\s{1,4}\(?\s{0,3}['\"]?([0-9a-z]{1,12})['\"]?\s{0,3}=\s{0,3}['\"]?[0-9a-z]{1,12}['\"]?\s{0,3}(?:--|#|/\*|;|\)|'|$))",
    r"(?i:['\"0-9)]\s{0,4}union\s{1,4}(?:all\s{1,4}|distinct\s{1,4})?select\s)",
    r"(?i:['\"]\s{0,4}\)?\s{0,4};\s{0,4}(?:drop|delete|update|insert|alter|create|exec|shutdown|truncate|grant)\s)",
    # reaches out of the database, or holds it up
    r"(?i:\bxp_cmdshell\b|\binto\s{1,4}(?:out|dump)file\s{1,4}['\"]|\bload_file\s{0,3}\(|\bcopy\s[^;\n]{1,120}\s(?:to|from)\s{1,4}program\b)",
    r"(?i:\b(?:pg_sleep|benchmark|dbms_pipe\.receive_message)\s{0,3}\(\s{0,3}[0-9]|\bwaitfor\s{1,4}delay\s{1,4}['\"]|(?:select|and|or|;)\s{1,4}sleep\s{0,3}\(\s{0,3}[0-9])",
    r"(?i:\bgrant\s{1,4}all\s{1,4}(?:privileges\s{1,4})?on\s)",
)
_HTML = (
    r"(?i:<script\b[^>]{0,500}>?)",
    r"(?i:<(?:iframe|frame|object|embed|applet|base|meta\s[^>]{0,200}http-equiv|link\s[^>]{0,200}(?:import|stylesheet))\b[^>]{0,500}>?)",
    # a handler inside a tag
    r"(?i:<[a-z][a-z0-9:-]{0,30}(?:\s|/)(?:[^>]{0,500}[\s\"'/])?on[a-z]{3,24}\s{0,3}=)",
    r"(?i:(?:href|src|action|formaction|data|xlink:href|\]\()\s{0,3}[=]?\s{0,3}[\"'<]?\s{0,3}(?:javascript|vbscript)\s{0,3}:)",
    r"(?i:(?:href|src|action|data)\s{0,3}=\s{0,3}[\"']?\s{0,3}data:(?:text/html|image/svg\+xml|application/xhtml)|\]\(\s{0,3}data:(?:text/html|image/svg))",
    r"(?i:\ssrcdoc\s{0,3}=|expression\s{0,3}\(\s{0,3}(?:alert|document|window|eval)|-moz-binding\s{0,3}:)",
)
_SINKS = ((SHELL, _SHELL), (SQL, _SQL), (HTML, _HTML))


def unsafe_probes() -> list[Probe]:
    """One probe for each pattern of each sink."""
    return [
        _probe(name, source, number)
        for name, sources in _SINKS
        for number, source in enumerate(sources)
    ]


def _probe(name: str, source: str, number: int) -> Probe:
    pattern = Pattern(source)
    detector = f"{name}#{number}"

    def find(view: View) -> Iterator[Finding]:
        for start, end, low, high in view.spans(pattern):
            if (low, high) != (start, end) and not _is_tautology(view.text[start:end]):
                continue
            yield Finding(name, start, end, 0.7, detector)

    return Probe(detector, (name,), source, find, "words")


def _is_tautology(text: str) -> bool:
    """``'1'='1``: both sides say the same. What has two sides that differ is a condition."""
    left, _, right = text.partition("=")
    words = [side.strip(" '\"()-#/*;\t\n").lower() for side in (left, right)]
    return bool(words[1]) and words[0].endswith(words[1])
