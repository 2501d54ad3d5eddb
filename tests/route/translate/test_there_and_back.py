"""Any conversation the neutral form holds survives each format, and answers survive each pair."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.exchange import Usage
from penstock.route.translate import anthropic_request, gemini_request, openai_request
from penstock.route.translate.answer import (
    Arguments,
    Begin,
    CallBegin,
    CallEnd,
    Counted,
    End,
    Event,
    Finish,
    Words,
    whole,
)
from penstock.route.translate.conversation import (
    Call,
    Conversation,
    Piece,
    Result,
    Text,
    Tool,
    ToolChoice,
)
from penstock.route.translate.errors import Format
from penstock.route.translate.translation import FormatTranslation, Wanted, writer_for

FORMATS: list[Format] = ["openai", "anthropic", "gemini"]
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False,
        allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """What all three formats can say: turns that alternate, calls that are answered."""
    said = Conversation(model="m", system=draw(st.lists(WORDS, max_size=2)))
    number = 0
    for _ in range(draw(st.integers(1, 3))):
        words: list[Piece] = [Text(text) for text in draw(st.lists(WORDS, min_size=1, max_size=2))]
        said.say("user", words, "")
        pieces: list[Piece] = [Text(text) for text in draw(st.lists(WORDS, max_size=2))]
        calls = []
        for name in draw(st.lists(NAMES, max_size=3)):
            number += 1
            calls.append(Call(f"call_{number}", name, draw(ARGUMENTS)))
        if not pieces and not calls:
            continue
        said.say("assistant", pieces + calls, "")
        if calls:
            said.say("user", [Result(c.id, c.name, draw(WORDS)) for c in calls], "")
    names = draw(st.lists(NAMES, unique=True, max_size=2))
    schemas = st.dictionaries(NAMES, VALUES, max_size=2).map(lambda s: {"type": "object", **s})
    said.tools = [Tool(name, draw(st.none() | WORDS), draw(schemas)) for name in names]
    choices = [None, ToolChoice("auto"), ToolChoice("none"), ToolChoice("any")]
    choices += [ToolChoice("one", name) for name in names]
    said.choice = draw(st.sampled_from(choices))
    said.max_tokens = draw(st.integers(1, 10**6))
    said.temperature = draw(st.none() | st.floats(0, 1))
    said.top_p = draw(st.none() | st.floats(0, 1))
    said.stop = draw(st.lists(WORDS, max_size=4))
    said.stream = draw(st.booleans())
    return said


def through(said: Conversation, into: Format) -> Conversation:
    """Written in a format, sent as bytes, and read again."""
    if into == "openai":
        found = openai_request.read(json.loads(json.dumps(openai_request.write(said, "openai"))))
        found.wants_usage = said.wants_usage  # always asked for, for the books
        return found
    if into == "anthropic":
        return anthropic_request.read(json.loads(json.dumps(anthropic_request.write(said, None))))
    body = json.loads(json.dumps(gemini_request.write(said, signed=False)))
    return gemini_request.read(body, said.model, said.stream)


@settings(max_examples=60, deadline=None)
@given(conversations())
def test_a_conversation_survives_each_format(said: Conversation) -> None:
    """There and back nothing is lost, added or moved; nor along all three in a row."""
    for into in FORMATS:
        assert through(said, into) == said
    assert through(through(through(said, "gemini"), "anthropic"), "openai") == said


COUNTS = st.builds(
    lambda fresh, cached, made, thought: Usage(
        input_total=fresh + cached,
        output_total=made + thought,
        cache_read_tokens=cached,
        reasoning_tokens=thought,
    ),
    *[st.integers(1, 10**6)] * 4,
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """An answer as events: words, calls, why it ended, what it used."""
    events: list[Event] = [Begin("id-1", "m-1")]
    events += [Words(text) for text in draw(st.lists(WORDS, max_size=4))]
    calls = draw(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3))
    for number, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        at = draw(st.integers(0, len(text)))
        pieces = [Arguments(one) for one in (text[:at], text[at:]) if one]
        events += [CallBegin(f"call_{number}", name), *pieces, CallEnd()]
    reason = "tools" if calls else draw(st.sampled_from(["stop", "length", "filtered"]))
    events += [Counted(draw(COUNTS)), Finish(reason), End()]  # type: ignore[arg-type] # words
    return events


def told(events: list[Event]) -> Any:
    """An answer as it is understood, however it was cut into pieces."""
    made = whole(events)
    calls = [
        (c.id, c.name, json.loads(c.text or "{}")) for c in made.pieces if not isinstance(c, str)
    ]
    usage = made.usage or Usage()
    counts = usage.input_total, usage.output_total, usage.cache_read_tokens, usage.reasoning_tokens
    assert made.finish is not None
    return made.id, made.model, "".join(made.texts()), calls, made.finish.reason, counts


def native(events: list[Event], source: Format) -> bytes:
    """The answer as a stream of this format."""
    writer = writer_for(Wanted(source, stream=True))
    return b"".join(writer.event(event) for event in events)


def heard(translation: FormatTranslation, stream: bytes, cuts: list[int]) -> bytes:
    """What the caller gets for a stream that comes in these pieces."""
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    out = [translation.feed(stream[a:b]) for a, b in pairwise(bounds)]
    return b"".join([*out, translation.end()])


@settings(max_examples=40, deadline=None)
@given(answers(), st.lists(st.integers(0, 3000), max_size=5))
def test_an_answer_survives_each_pair(events: list[Event], cuts: list[int]) -> None:
    """Streamed from each format into each other, cut anywhere, it says and counts the same."""
    for source in FORMATS:
        stream = native(events, source)
        for caller in FORMATS:
            if caller == source:
                continue
            there = FormatTranslation(source, Wanted(caller, stream=True))
            out = heard(there, stream, cuts)
            back = FormatTranslation(caller, Wanted(source, stream=True))
            events_back = read_stream(caller, out)
            assert told(events_back) == told(events)
            assert there.usage is not None
            assert there.usage.input_total == told(events)[5][0]
            assert not back.finished and not there.finished
            # Piece by piece the caller gets what it gets at once.
            assert heard(FormatTranslation(source, Wanted(caller, stream=True)), stream, []) == out


def read_stream(source: Format, stream: bytes) -> list[Event]:
    """The events of a stream as its own reader understands them."""
    found: list[Event] = []

    class Listening(FormatTranslation):
        def _note(self, event: Event) -> None:
            found.append(event)
            super()._note(event)

    translation = Listening(source, Wanted("openai", stream=True))
    translation.feed(stream)
    translation.end()
    return found


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("caller", FORMATS)
@settings(max_examples=25, deadline=None)
@given(events=answers())
def test_a_plain_answer_survives_each_pair(
    source: Format, caller: Format, events: list[Event]
) -> None:
    """The same for an answer that comes whole."""
    writing = FormatTranslation("openai", Wanted(source, stream=False))
    document = writing._document(whole(events))
    there = FormatTranslation(source, Wanted(caller, stream=False))
    status, body = there.whole(200, json.dumps(document).encode())
    assert status == 200
    back = FormatTranslation(caller, Wanted(source, stream=False))
    found: list[Event] = []
    back._note = found.append  # type: ignore[method-assign] # to hear the events
    back.whole(200, body)
    assert told(found) == told(events)
