"""What is said in an answer does not reach the client, however it is split over events."""

from __future__ import annotations

import json

import pytest

from tests.leaks.dialect import AFTER, Dialect
from tests.leaks.probing import DIALECTS, Probe, in_pieces, whole
from tests.leaks.values import SHORT, github_token, json_web_token, leaked, password

KINDS = [(dialect, kind) for dialect in DIALECTS for kind in dialect.kinds]
kinds = pytest.mark.parametrize(
    ("dialect", "kind"), KINDS, ids=[f"{dialect.name}-{kind}" for dialect, kind in KINDS]
)
LONG = 10_000


def in_json(kind: str, text: str) -> str:
    """The text as this kind carries it: tool arguments are a JSON document."""
    return json.dumps({"to": text}) if kind == "tool_arguments" else text


def spoken(dialect: Dialect, kind: str, body: bytes, streamed: bool) -> str:
    """What the client reads; tool arguments must be JSON."""
    said = dialect.read(kind, body, streamed)
    return str(json.loads(said)["to"]) if kind == "tool_arguments" else said


def everything(body: bytes) -> str:
    return body.decode("utf-8", "replace")


@kinds
@pytest.mark.parametrize("value_kind", SHORT)
def test_a_value_in_a_plain_answer(
    probe: Probe, dialect: Dialect, kind: str, value_kind: str
) -> None:
    """The value is gone, the words around it are there."""
    value = SHORT[value_kind]()
    text = in_json(kind, f"Before it: {value} and after it.")
    body = probe.ask(dialect, False, whole(dialect, kind, text))
    said = spoken(dialect, kind, body, False)
    assert leaked(value, everything(body)) is None
    assert said.startswith("Before it: ") and said.endswith(" and after it.")


@kinds
@pytest.mark.parametrize("value_kind", SHORT)
def test_a_value_split_at_every_place(
    probe: Probe, dialect: Dialect, kind: str, value_kind: str
) -> None:
    """One stream says the value once for each of its inner places, and cuts it there."""
    value = SHORT[value_kind]()
    words = [f"number {place} is {value} indeed, " for place in range(1, len(value))]
    text = in_json(kind, "".join(words))
    pieces, at, found = [], 0, -1
    for place in range(1, len(value)):
        found = text.index(value, found + 1)
        pieces.append(text[at : found + place])
        at = found + place
    pieces.append(text[at:])
    body = probe.ask(dialect, True, in_pieces(dialect, kind, pieces))
    said = spoken(dialect, kind, body, True)
    assert leaked(value, said) is None
    assert leaked(value, everything(body)) is None
    for place in range(1, len(value)):
        assert f"number {place} is " in said
    assert said.count(" indeed, ") == len(value) - 1
    assert dialect.read("text", body, True).endswith(AFTER)


@kinds
@pytest.mark.parametrize("value_kind", SHORT)
def test_a_value_character_by_character(
    probe: Probe, dialect: Dialect, kind: str, value_kind: str
) -> None:
    """Each character is an event of its own."""
    value = SHORT[value_kind]()
    pieces = list(in_json(kind, f"Before it: {value} and after it."))
    body = probe.ask(dialect, True, in_pieces(dialect, kind, pieces))
    said = spoken(dialect, kind, body, True)
    assert leaked(value, said) is None and leaked(value, everything(body)) is None
    assert said.startswith("Before it: ") and " and after it." in said


@kinds
@pytest.mark.parametrize("size", [601, pytest.param(LONG, marks=pytest.mark.slow)])
def test_a_long_token_byte_by_byte(probe: Probe, dialect: Dialect, kind: str, size: int) -> None:
    """It is gone whole, and the text behind it arrives whole."""
    token = json_web_token(size)
    pieces = list(in_json(kind, f"Use {token} now. Then rest for a while."))
    body = probe.ask(dialect, True, in_pieces(dialect, kind, pieces))
    said = spoken(dialect, kind, body, True)
    assert leaked(token, said) is None and leaked(token, everything(body)) is None
    assert said.startswith("Use ") and " now. Then rest for a while." in said
    assert dialect.read("text", body, True).endswith(AFTER)


# Longer than what once was read of a value, and than what is held of a stream.
@kinds
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("size", [LONG, pytest.param(40_000, marks=pytest.mark.slow)])
def test_a_long_password(
    probe: Probe, dialect: Dialect, kind: str, streamed: bool, size: int
) -> None:
    """What is found by its name is taken to its end, in quotes and bare."""
    value = password(size)
    text = f"Set password = '{value}', PASSWORD={value} now. Then rest for a while."
    text = in_json(kind, text)
    pieces = [text[at : at + 500] for at in range(0, len(text), 500)]
    given = in_pieces(dialect, kind, pieces) if streamed else whole(dialect, kind, text)
    body = probe.ask(dialect, streamed, given)
    said = spoken(dialect, kind, body, streamed)
    assert leaked(value, said) is None and leaked(value, everything(body)) is None
    assert said.startswith("Set password = ") and " now. Then rest for a while." in said


@kinds
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_an_answer_without_a_value_arrives_byte_for_byte(
    probe: Probe, dialect: Dialect, kind: str, streamed: bool
) -> None:
    """Nothing found, nothing touched."""
    text = in_json(kind, "Nothing in here is anybody's business: a@b, 1234, ghp_, eyJ.")
    given = in_pieces(dialect, kind, list(text)) if streamed else whole(dialect, kind, text)
    body = probe.ask(dialect, streamed, given)
    assert body == b"".join(given(b""))


@kinds
def test_two_texts_at_once_do_not_mix(probe: Probe, dialect: Dialect, kind: str) -> None:
    """A value in one text and its copy in another: both go."""
    value = github_token()
    pieces = [*in_json(kind, f"First {value}, then {value}.")]
    body = probe.ask(dialect, True, in_pieces(dialect, kind, pieces), {"user": f"Keep {value}!"})
    assert leaked(value, probe.sent()) is None
    assert ", then " in spoken(dialect, kind, body, True)
