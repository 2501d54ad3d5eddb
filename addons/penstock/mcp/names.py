"""Tool names that deceive: one name from two servers, names that only look alike.

A model picks tools by name. A second server that offers ``send_mail``, or ``send_mаil`` with a
Cyrillic letter, gets calls meant for the first. This only reports; policy decides.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping

# Letters of other scripts and digits drawn like a Latin letter (Unicode TR 39, the common ones).
_CONFUSABLE = str.maketrans(
    "аеорсухіјѕһԁɡӏαενικορτυχ01|",
    "aeopcyxijshdglaevikoptuxoll",
)
# Separators and invisible characters: names differing only here are one name to a reader.
_IGNORED = str.maketrans("", "", "-_. /:\u00ad\u200b\u200c\u200d\u2060\ufeff")
# The same for names without other letters, in one step.
_PLAIN = str.maketrans("i01|", "loll", "-_. /:")


def skeleton(name: str) -> str:
    """What a name looks like: case, separators, scripts and invisible characters aside."""
    if name.isascii():  # nearly all are, and lists have hundreds
        return name.lower().translate(_PLAIN).replace("rn", "m")
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_IGNORED)
    return folded.translate(_CONFUSABLE).replace("i", "l").replace("rn", "m")


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of different names with one look, each sorted."""
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[skeleton(name)].add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def shadowed(servers: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Tool names offered by more than one server, with those servers."""
    offered: dict[str, list[str]] = defaultdict(list)
    for server in sorted(servers):
        for name in set(servers[server]):
            offered[name].append(server)
    return {name: by for name, by in sorted(offered.items()) if len(by) > 1}
