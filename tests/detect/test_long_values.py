"""What stands behind a limit does not leave: secrets of any length, plain and streamed."""

from __future__ import annotations

import base64
import gzip
import random
import time

import pytest

from penstock.detect import Detectors
from penstock.detect import stream as streams
from penstock.detect.custom import Custom, custom_probe
from penstock.detect.disguises.encoded import INFLATED_BYTES_MAX
from penstock.detect.disguises.normalise import UNBROKEN_REACH
from penstock.detect.disguises.reading import RUN_CHARACTERS_MAX
from penstock.detect.secrets.assigned import UNBROKEN_CHARACTERS
from penstock.detect.secrets.keys import CUT_CHARACTERS_MIN, KEY_CHARACTERS_MAX
from penstock.detect.stream import HELD_CHARACTERS_MAX, scanner
from penstock.exchange import UNSCANNABLE, Finding
from tests.detect.long_values import PLACES, coded, key, signed, some
from tests.leaks.values import leaked

OWN = custom_probe(Custom("corp", "KEY<[^>]{8,}>", "KEY<abcdefghi>"))
DETECTORS = Detectors(["secret", "custom"], [OWN])
BEFORE, BEHIND = "Hello there. ", " And so on."
# Sizes around what once was, or is, a limit.
LIMITS = (UNBROKEN_CHARACTERS, 1024, CUT_CHARACTERS_MIN)
PLAIN = [limit + step for limit in LIMITS for step in (-1, 0, 1)] + [10_240, KEY_CHARACTERS_MAX + 1]
places = pytest.mark.parametrize("place", PLACES)


def replaced(text: str, findings: list[Finding]) -> str:
    out, done = "", 0
    for finding in findings:
        out += text[done : finding.start] + "[X]"
        done = finding.end
    return out + text[done:]


def streamed(text: str, sizes: random.Random, fixed: int | None = None) -> tuple[str, int]:
    """What leaves of a text that comes in pieces, and the most that was held."""
    reader = scanner(DETECTORS, ["secret", "custom"], lambda finding, value: "[X]")
    out, done, held, at = "", 0, 0, 0
    while at < len(text):
        size = fixed or sizes.randint(1, 900)
        steps = [reader.feed(text[at : at + size])]
        at = min(len(text), at + size)
        held = max(held, at - steps[0].settled)
        if at == len(text):
            steps.append(reader.finish())
        for step in steps:
            for one in step.replacements:
                out += text[done : one.start] + one.text
                done = one.end
            out += text[done : step.settled]
            done = max(done, step.settled)
    return out, held


@places
def test_a_secret_of_any_length_is_taken_whole(place: str) -> None:
    for size in PLAIN:
        before, value, behind = PLACES[place](size)
        text = BEFORE + before + value + behind + BEHIND
        left = replaced(text, DETECTORS.scan(text))
        assert leaked(value, left) is None, size
        assert left.startswith(BEFORE) and left.endswith(BEHIND), size


@pytest.mark.parametrize("place", ["single quotes", "environment", "private key", "bearer", "url"])
def test_ten_times_the_longest_key_is_taken_whole(place: str) -> None:
    before, value, behind = PLACES[place](10 * KEY_CHARACTERS_MAX)
    text = BEFORE + before + value + behind + BEHIND
    assert leaked(value, replaced(text, DETECTORS.scan(text))) is None


@places
@pytest.mark.parametrize("size", [1025, 10_240])
def test_a_stream_says_what_the_whole_text_says(place: str, size: int) -> None:
    before, value, behind = PLACES[place](size)
    text = BEFORE + before + value + behind + BEHIND
    for seed in range(3):
        left, held = streamed(text, random.Random(seed))
        assert left == replaced(text, DETECTORS.scan(text))
        assert held <= HELD_CHARACTERS_MAX + 900


@places
def test_a_secret_longer_than_may_be_held_does_not_leave(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a smaller limit, so that every length around it is cheap to try."""
    limit = 4096 if "header" not in place else CUT_CHARACTERS_MIN + 2048
    monkeypatch.setattr(streams, "HELD_CHARACTERS_MAX", limit)
    for size in (limit - 1, limit, limit + 1, 10 * limit):
        before, value, behind = PLACES[place](size)
        text = BEFORE + before + value + behind + BEHIND
        left, held = streamed(text, random.Random(size))
        assert leaked(value, left) is None, size
        assert left.startswith(BEFORE) and left.endswith(BEHIND), size
        assert left.count("[X]") == 1, size
        assert held <= limit + 900, size


def test_a_secret_beyond_the_true_limit_does_not_leave() -> None:
    for size in (HELD_CHARACTERS_MAX + 1, 10 * HELD_CHARACTERS_MAX):
        value = some(size)
        left, _ = streamed(f"{BEFORE}password = '{value}'{BEHIND}", random.Random(1))
        assert left == f"{BEFORE}password = '[X]'{BEHIND}"


def test_what_waits_for_its_end_too_long_counts_as_not_judged() -> None:
    """A policy's own pattern that closes nowhere: nobody can say what it is."""
    seen: list[str] = []
    reader = scanner(DETECTORS, ["custom"], lambda finding, value: seen.append(finding.type) or "")
    reader.feed("KEY<" + some(HELD_CHARACTERS_MAX))
    assert seen == [UNSCANNABLE]


@pytest.mark.parametrize(
    "size", [RUN_CHARACTERS_MAX - 9, RUN_CHARACTERS_MAX, 10 * RUN_CHARACTERS_MAX]
)
def test_an_encoded_text_is_read_to_its_end(size: int) -> None:
    """Also where a piece of it ends: a key is found wherever in the run it stands."""
    for at in (0, size // 2, size):
        text = "All is well. " * (size // 13)
        hidden = f"{text[:at]} {key(600)} {text[at:]}"
        for run in (coded(hidden), hidden.encode().hex()):
            findings = DETECTORS.scan(f"see {run} there")
            assert leaked(run, replaced(f"see {run} there", findings)) is None


def test_what_gzip_packs_beyond_its_limit_counts_as_not_judged() -> None:
    small = gzip.compress(b"All is well. " * 1000 + key(600).encode(), mtime=0)
    large = gzip.compress(b"All is well. " * (INFLATED_BYTES_MAX // 13 + 20_000), mtime=0)
    for packed, expected in ((small, "secret.private_key"), (large, UNSCANNABLE)):
        run = base64.b64encode(packed).decode()
        assert [f.type for f in DETECTORS.scan(run)] == [expected]


def test_an_escaped_value_beyond_reach_counts_as_not_judged() -> None:
    value = signed(UNBROKEN_REACH + 9).replace(".", "%2E")
    assert UNSCANNABLE in {finding.type for finding in DETECTORS.scan(f"x {value} y")}


@pytest.mark.parametrize(
    "unit",
    [
        "key=-", 'key="', "key='x", 'key=\\"', "key=&quot;", "token=`a\\", "a://b:c", "key=(((",
        "PuTTY-User-Key-File-2: ", "-----BEGIN PRIVATE KEY-----", "password == ", "%41",
        "a\u200b", "eyJ", "a:b@",
    ],
)  # fmt: skip
def test_hostile_text_costs_what_its_length_costs(unit: str) -> None:
    """Ten times the text takes some ten times as long, never a hundred times."""

    def spent(size: int) -> float:
        text = unit * (size // len(unit))
        begin = time.process_time()
        DETECTORS.scan(text)
        return time.process_time() - begin

    spent(2000)
    assert spent(300_000) < 40 * max(spent(30_000), 0.002)


LONG = HELD_CHARACTERS_MAX + 2000


@pytest.mark.parametrize("size", [60, 1000, 10_240, LONG])
@pytest.mark.parametrize("step", [1, 7, 300, 3000])
@pytest.mark.parametrize("escape", ["\\u002e", "%2e", "\\u005cu002e"])
def test_an_escape_inside_a_token_ends_nothing(size: int, step: int, escape: str) -> None:
    """Its signature, and its middle, stand behind what a text shows in place of a dot."""
    if size // step > 2000:
        pytest.skip("slow, and the same")
    header, payload, signature = signed(size).split(".")
    for text in (
        f"{header}.{payload}{escape}{signature}",
        escape.join([header, payload, signature]),
    ):
        left, held = streamed(f"{BEFORE}x {text} y{BEHIND}", random.Random(1), step)
        assert leaked(payload, left) is None and leaked(signature, left) is None
        assert left.startswith(f"{BEFORE}x ") and left.endswith(f" y{BEHIND}")
        assert held <= HELD_CHARACTERS_MAX + step


@pytest.mark.parametrize("size", [400, 4000, LONG])
@pytest.mark.parametrize("where", [0.1, 0.9])
def test_a_password_goes_on_behind_an_escape(size: int, where: float) -> None:
    value = some(size)
    cut = int(size * where)
    for step in (7, 300):
        text = f"PASSWORD={value[:cut]}\\u0041{value[cut:]} end"
        assert leaked(value, streamed(text, random.Random(1), step)[0]) is None
        text = f"PASSWORD={value}\\u0022, and more words"
        assert streamed(text, random.Random(1), step)[0].endswith("\\u0022, and more words")


@pytest.mark.parametrize("step", [61, 3000])
@pytest.mark.parametrize("size", [1000, LONG, 3 * LONG])
def test_what_only_an_end_beyond_the_limit_would_show_is_withheld(size: int, step: int) -> None:
    """The name stands behind the value; the password behind a user name."""
    value = some(size)
    left, _ = streamed(f"x '{value}' == self.password and y", random.Random(1), step)
    assert leaked(value, left) is None and left.endswith("' == self.password and y")
    secret = "Sup3rS3cret9x7Q"
    left, _ = streamed(f"see https://{value}:{secret}@example.org/x end", random.Random(1), step)
    assert leaked(secret, left) is None and left.endswith(":[X]@example.org/x end")


@pytest.mark.parametrize("user", range(12))
def test_the_words_in_a_user_name_do_not_part_it_from_its_password(user: int) -> None:
    """By chance a name's word stands in it, and seems to begin a value of its own."""
    name = some(300) + f"pw{user}" + some(400)
    left, _ = streamed(f"see https://{name}:Sup3rS3cret9x7Q@example.org/x end", random.Random(1), 7)
    assert "Sup3rS3cret" not in left


@pytest.mark.parametrize("kind", ["picture", "data URL", "text", "program", "Markdown"])
def test_files_longer_than_may_be_held_pass_as_the_whole_text_does(kind: str) -> None:
    noise = random.Random(5).randbytes(60_000)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + noise).decode()
    text = {
        "picture": f'{{"data": "{picture}"}} end',
        "data URL": f'<img src="data:image/png;base64,{picture}"> end',
        "text": f'{{"file": "{coded("Words of a file, line by line. " * 2000)}"}} end',
        "program": f'{{"code": "0x{noise.hex()}"}} end',
        "Markdown": f"`{noise.hex()}` end",
    }[kind]
    assert UNSCANNABLE not in {finding.type for finding in DETECTORS.scan(text)}
    assert streamed(text, random.Random(1), 700)[0] == replaced(text, DETECTORS.scan(text))
