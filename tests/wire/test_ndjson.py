"""Line-wise JSON: whole lines out, every byte kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.framing.ndjson import MAX_LINE_BYTES, LineParser

BODY = st.lists(st.sampled_from([b'{"a":1}', b"", b" ", b'"\xc3\xa9"', b"{}\r"]), max_size=8).map(
    b"\n".join
)


@given(BODY, st.lists(st.integers(0, 60), max_size=6))
def test_the_split_makes_no_difference(body: bytes, cuts: list[int]) -> None:
    edges = sorted(min(cut, len(body)) for cut in cuts)
    parser = LineParser()
    lines = []
    for start, end in zip([0, *edges], [*edges, len(body)], strict=True):
        lines += parser.feed(body[start:end])
    lines += parser.end()
    whole = LineParser()
    expected = whole.feed(body) + whole.end()
    assert b"".join(line.raw for line in lines) == body
    assert [line.data for line in lines] == [line.data for line in expected]


def test_a_changed_line_keeps_its_end() -> None:
    line = LineParser().feed(b' {"a":1} \r\n')[0]
    assert line.rebuild(b'{"a":2}') == b' {"a":2} \r\n'


def test_an_endless_line_is_a_problem() -> None:
    parser = LineParser()
    parser.feed(b"x" * (MAX_LINE_BYTES + 1))
    assert parser.problem is not None
