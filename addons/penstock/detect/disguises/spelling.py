"""Words spelt so that no pattern sees them: l e t t e r s apart, d1g1ts for letters, sdrawkcab.

Three more readings of a text (see ``normalise``): the first joins what stands letter by
letter, the second writes letters where words upon words have digits in them, the third turns
round what has common words backwards in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import re2

from penstock.detect.disguises.reading import RUN_CHARACTERS_MAX, RUNS_MAX, Decoded
from penstock.detect.view import View

# Characters that stand alone, one after the other: fewer are a list, or initials.
_APART = re2.compile(
    rb"(?:^|\s)((?:[^\s]\s{1,4}){8,}[^\s])(?:\s|$)|((?:[^\s._*|-][._*|-](?: [._*|-]?)?){10,}\w)"
)
_LETTER_BY_LETTER = re.compile(r"(\S)(\s*)")
_MARKED = re.compile(r"([^\s._*|-])([\s._*|-]*)")
# So much of it must be letters: rows of numbers stand apart, too.
LETTERS_SHARE_MIN = 0.6
# A longer run is read piece by piece; what stands at an end stands whole in the next piece.
PIECE_STEP = RUN_CHARACTERS_MAX - 4096
# Three words in a row that have both letters and digits that look like letters.
_MIXED = r"[A-Za-z$@]*(?:[A-Za-z][013457$@]|[013457$@][A-Za-z]{2})[A-Za-z013457$@]*"
_LEET = re2.compile(rf"(?:{_MIXED}(?: [a-z]{{1,12}})?[ ,.:;!?'\"]{{1,3}}){{3,}}".encode())
# Common words of orders in six languages, backwards: only such as are no word that way round.
# So many different ones make a text worth reading from its end.
_TURNED = (
    "eht|dna|uoy|ruoy|siht|taht|htiw|morf|hcihw|tahw|rehto|yna|gnihtyreve|erofeb|evoba|snoitcurtsni"
    "|erongi|tegrof|suoiverp|metsys|tpmorp|egassem|rewsna|esaelp|drowssap|terces|laever|woh|fo|tuoba"
    "|dnu|eid|hci|nessegrev|eis|hcis|thcin|enie|euq|rop|anu|arap|moc|amu|suov|snad|rus|ehc"
    "|inoizurtsi|senoiccurtsni"
)
_BACKWARDS = re2.compile(rf"(?i:\b(?:{_TURNED})\b)".encode())
BACKWARD_WORDS_MIN = 3
# Which of the three there are, in one pass: plain text needs no more (6 us per 4 KB).
_GATE = r"(?i:\b(?:eht|dna|uoy|ruoy|siht|taht|htiw|dnu|eid|euq|rop|anu|ehc)\b)"
_KINDS = re2.Set.SearchSet()
for _sign in (_APART.pattern, _LEET.pattern, _GATE.encode()):
    _KINDS.Add(_sign)
_KINDS.Compile()
_LETTERS = str.maketrans("013457$@", "oieastsa")
# How far around such words the sentence is read with them.
LEET_REACH = 160


def spellings(view: View) -> Sequence[int]:
    """Which of the odd spellings a text may have, as ``respelt`` numbers them."""
    return _KINDS.Match(view.data) or ()


def respelt(view: View, kinds: Sequence[int] = (0, 1, 2)) -> Iterator[Decoded]:
    """The readings of a text whose words are spelt oddly."""
    for kind in sorted(kinds):
        yield from (_joined, _lettered, _turned)[kind](view)


def _joined(view: View) -> Iterator[Decoded]:
    read = 0
    for match in _APART.finditer(view.data):
        group = 1 if match.span(1)[0] >= 0 else 2
        start, end = (view.index(at) for at in match.span(group))
        for low in range(start, end, PIECE_STEP):
            piece = view.text[low : min(low + RUN_CHARACTERS_MAX, end)]
            if sum(char.isalpha() for char in piece) * 2 < LETTERS_SHARE_MIN * len(piece):
                continue
            if read >= RUNS_MAX:
                view.leave(low)
                return
            read += 1
            yield together(piece, low, group == 2)


def together(piece: str, base: int, marked: bool) -> Decoded:
    """The letters without the blanks, or the marks, between them; a wider gap is the space between
    words."""
    pattern = _MARKED if marked else _LETTER_BY_LETTER
    characters: list[str] = []
    origin: list[int] = []
    for match in pattern.finditer(piece):
        characters.append(match[1])
        origin.append(base + match.start())
        if len(match[2]) > 1:
            characters.append(" ")
            origin.append(base + match.start(2))
    origin.append(base + len(piece))
    return Decoded("".join(characters), (base, base + len(piece)), origin)


def _lettered(view: View) -> Iterator[Decoded]:
    """Each stretch of such words and what stands around it; places stay what they are."""
    done = 0
    for count, match in enumerate(_LEET.finditer(view.data)):
        start, end = (view.index(at) for at in match.span())
        if count >= RUNS_MAX:
            view.leave(start)
            return
        if start < done:
            continue
        low, high = max(0, start - LEET_REACH), min(len(view.text), end + LEET_REACH)
        done = high
        words = re.sub(r"\S+", _letters_for_digits, view.text[low:high])
        yield Decoded(words, (low, high), range(low, high + 1))


def _turned(view: View) -> Iterator[Decoded]:
    """The text from its end, in pieces; each stands for its place as a whole."""
    words: set[bytes] = set()
    for match in _BACKWARDS.finditer(view.data):
        words.add(bytes(match[0]).lower())  # of a long text it is a bytearray
        if len(words) >= BACKWARD_WORDS_MIN:
            break
    else:
        return
    text = view.text
    for low in range(0, len(text), PIECE_STEP):
        piece = text[low : low + RUN_CHARACTERS_MAX]
        yield Decoded(piece[::-1], (low, low + len(piece)))


def _letters_for_digits(word: re.Match[str]) -> str:
    """A word that has a letter, with letters only; a number stays a number."""
    text = word.group()
    return text.translate(_LETTERS) if any(char.isalpha() for char in text) else text
