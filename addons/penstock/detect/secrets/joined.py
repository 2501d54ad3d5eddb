"""What may stand between a name and its value: how languages, formats and people assign.

Every pattern is bounded and reads at most some 300 characters. They are written for Python's
``re`` and read by RE2 as well, so without look-around.
"""

from __future__ import annotations

import re

from penstock.detect.secrets.names import NAME_CHARACTERS_MAX

_CLOSERS = r"(?:\\?[\"'`\])}*]|&quot;|</?[a-z]{1,6}>){0,4}"
# A type between name and sign (Go, Rust, Swift), a property of C#.
_TYPED = r"(?:(?:\s?:\s?|\s)(?:[Ss]tring|str|&str|text|char ?\*)| ?\{ ?get;[ a-z;]{0,30}\})"
# In sentences: "is" in some languages. A dash or a cell of a Markdown table needs its blank.
_SAID = (
    r"(?: is(?: now)?| was| to| est| ist| lautet| es| è| é| är| jest| adalah| là)(?: ?:)?[ \t]"
    r"|是|为|為|は|은|는|[–—]|- |\| "
)
# The rest of an opening tag: <password type="text">.
_TAG = r"(?:[0-9A-Za-z_:.-]{1,30}+=\\?[\"'][^\"'<>\n]{0,80}\\?[\"'] ?){1,3}>"
_ASSIGN = rf"(?:=>|:=|<-|[!=]==?|=|:|->|\(|,|>|\{{|{_SAID}|\|\|=?|\?\?=?|{_TAG})"
# The value is what a lookup answers when it finds nothing: env('X', …), ENV.fetch("X", …).
_DEFAULT = (
    r"(?:[A-Za-z_.:]{0,30}(?:[Ee]nv|get|fetch|OrDefault|Property)\(\s?[\"'][0-9A-Za-z_.:/-]{1,60}"
    r"[\"'],\s?)?"
)
# A name and a value that each have a name: {"name": "DB_PASSWORD", "value": …}, variable "x" {
# default = … }, key="x" value=…, "x": {"value": …}, <key>x</key> <string>….
_PAIR = (
    r"(?:\\?[\"']?(?:\s?[:=]?\s?\{|,|\s)\s{0,40}(?:(?:type|description|sensitive|nullable)\s{0,20}="
    r"[^\n]{0,200}\n\s{0,40}){0,4}\\?[\"']?(?:[Vv]alue|default)\\?[\"']?\s{0,20}[:=]\s{0,3}"
    r"|</(?:key|name)>\s{0,40}<(?:string|value)>)"
)
# Options of commands between the name and the value: gh secret set NAME --body …
_GAP = (
    r"(?: {1,3}--?(?:AsPlainText|Force|String|Value|value|body|data)){0,3}(?: {1,3})"
    r"|(?: {1,3}--?(?:value|body|data))="
)
# The rest of the name, the sign, and the blanks that line values up in a column.
_JOIN = (
    rf"(?P<rest>[0-9A-Za-z_.\]-]{{0,{NAME_CHARACTERS_MAX}}}+)(?:(?P<pair>{_PAIR})"
    rf"|{_CLOSERS}[ \t]{{0,40}}(?:{_TYPED}[ \t]{{0,3}})?(?P<sign>{_ASSIGN})[ \t]{{0,40}}{_DEFAULT}"
    rf"|[ \t]{{1,4}}(?P<quote>\\?[\"'])|(?P<gap>{_GAP}))"
)
# IDENTIFIED WITH plugin BY …, SET PASSWORD FOR user = ….
_SQL = (
    r"(?: with [\"'`]?[a-z0-9_]{1,40}[\"'`]?)? (?:by|as) {1,3}"
    r"|(?:word)? for [^=;\n]{1,80}= {0,3}(?:password\()?"
)
JOINED = re.compile(f"(?i:(?P<sql>{_SQL}))|{_JOIN}")
# The same as RE2 reads it, for growing texts: no names, no possessive counts.
LIVE_JOIN = rf"(?:{re.sub(r'[?]P<[a-z]+>', '?:', _JOIN).replace('}+', '}')}|{_SQL})"
# Commands and instructions that take a name and its value without a sign.
SETTER_REACH = 40
SETTER = re.compile(
    r"(?:^|[\s;&|(])(?:ENV|ARG|setenv|setx|set -[A-Za-z]{1,4}|config(?:ure)? set|secrets? set"
    r"|snmp-server|put-secret|SetEnvironmentVariable)\s{1,4}$"
)
