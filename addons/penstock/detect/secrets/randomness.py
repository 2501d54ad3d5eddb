"""How random a string looks: entropy, and whether its letters read like words.

A table of letter pairs, counted over the words of Python's standard library, tells
``kubernetes`` from ``xkqzvwpr``. Pure functions, linear in the length of the value.
"""

from __future__ import annotations

import math
import re
from collections import Counter


def _rows(table: str) -> list[str]:
    return table.split()


# Row: first letter, column: second, a to z; 0 = never seen in words, 9 = eight times as
# often as chance. Counted over 30 000 distinct words of the standard library's sources.
_PAIRS = (
    "46653352504666151767433341 75646423652744642554612252 73446326516543731546522140 "
    "64558532522733632554532231 53664542301556343776243530 64456741721634730655522230 "
    "53448456611645530664532123 73448323713443731546522142 54655451212658641566140304 "
    "64547454625432752463724342 63548444732635442465434140 62358322702623740255531061 "
    "75248222602453660254511040 62666572514434641267442121 35563442414667560755645311 "
    "73447424602623652756523050 54434344420444336563943333 73558342603454640566433040 "
    "53537335604433552367623140 63547316702433640665423152 56545541502667460666211201 "
    "84438333721333531444223122 73546435712436641664333411 65656624622453462447333653 "
    "54555433523556572566344445 63458334700342533343324545"
)
_SCORE = {
    first + second: int(digit)
    for first, row in zip("abcdefghijklmnopqrstuvwxyz", _rows(_PAIRS), strict=True)
    for second, digit in zip("abcdefghijklmnopqrstuvwxyz", row, strict=True)
}

# Linear: every character is looked at twice at most.
_RUNS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def entropy(value: str) -> float:
    """Shannon entropy in bits per character (0.0 for an empty or uniform string)."""
    size = len(value)
    if not size:
        return 0.0
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


def word_score(letters: str) -> float:
    """Mean pair score of a run of ASCII letters: words 5 to 6, random letters below 5."""
    low = letters.lower()
    if len(low) < 2:
        return 5.0
    return sum(_SCORE.get(low[i : i + 2], 0) for i in range(len(low) - 1)) / (len(low) - 1)


def is_word(letters: str) -> bool:
    """True when a run of letters reads like a word or an abbreviation of one."""
    size = len(letters)
    if size <= 3:
        return True
    return word_score(letters) >= (4.4 if size <= 5 else 4.7 if size <= 7 else 4.9)


def letter_runs(value: str) -> list[str]:
    """The value's words: runs of letters, split at case changes as in camelCase."""
    return _RUNS.findall(value)


def word_share(value: str) -> float:
    """The share of the value's characters that stand in words of four letters or more."""
    if not value:
        return 0.0
    return sum(len(run) for run in letter_runs(value) if len(run) >= 4 and is_word(run)) / len(
        value
    )


def classes(value: str) -> tuple[int, int, int, int]:
    """Counts of (lower-case, upper-case, digits, others)."""
    lower = upper = digits = 0
    for char in value:
        if "a" <= char <= "z":
            lower += 1
        elif "A" <= char <= "Z":
            upper += 1
        elif "0" <= char <= "9":
            digits += 1
    return lower, upper, digits, len(value) - lower - upper - digits


def switches(value: str) -> int:
    """How often neighbours differ in class (lower, upper, digit, other): high when random."""
    previous = 0
    count = 0
    for char in value:
        kind = 1 if char.islower() else 2 if char.isupper() else 3 if char.isdigit() else 4
        count += previous not in (0, kind)
        previous = kind
    return count
