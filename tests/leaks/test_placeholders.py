"""What stood in for a value in the request is the value again in the answer.

For proxies that put originals back: the stand-in is read at the upstream, between two
markers, so these probes know nothing of its form.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pytest

from tests.leaks.dialect import AFTER, Dialect
from tests.leaks.probing import DIALECTS, Answer, Probe
from tests.leaks.values import email, github_token, leaked, private_key

dialects = pytest.mark.parametrize("dialect", DIALECTS, ids=[one.name for one in DIALECTS])
makers = pytest.mark.parametrize("make", [email, github_token, private_key])
BEGIN, END = "<<<", ">>>"


def stand_in(body: bytes) -> str:
    """What stands at the upstream where the value stood."""
    return json.dumps(json.loads(body), ensure_ascii=False).split(BEGIN)[1].split(END)[0]


def repeating(dialect: Dialect, kind: str, streamed: bool) -> Answer:
    """An answer that says the stand-in again, in pieces of three characters."""

    def answer(body: bytes) -> Iterable[bytes]:
        text = f"It is {stand_in(body)} indeed."
        if kind == "tool_arguments":
            text = json.dumps({"to": text})
        if not streamed:
            return [json.dumps(dialect.plain(kind, text)).encode()]
        return dialect.stream(kind, [text[at : at + 3] for at in range(0, len(text), 3)])

    return answer


@dialects
@makers
@pytest.mark.parametrize("kind", ["text", "tool_arguments"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_stand_in_becomes_the_value_again(
    probe: Probe, dialect: Dialect, make: Callable[[], str], kind: str, streamed: bool
) -> None:
    """In text and in tool arguments, where a value of several lines must stay valid JSON."""
    value = make()
    texts = {"user": f"Remember {BEGIN}{value}{END} please."}
    body = probe.ask(dialect, streamed, repeating(dialect, kind, streamed), texts)
    assert leaked(value.replace("\n", "\\n"), probe.sent()) is None
    said = dialect.read(kind, body, streamed)
    if kind == "tool_arguments":
        said = json.loads(said)["to"]
    assert said.removesuffix(AFTER) == f"It is {value} indeed."


@dialects
def test_the_same_value_has_the_same_stand_in(probe: Probe, dialect: Dialect) -> None:
    """Over calls: a provider's prompt cache still hits."""
    value, seen = email(), set()
    for _ in range(2):
        probe.ask(
            dialect,
            False,
            repeating(dialect, "text", False),
            {"user": f"Remember {BEGIN}{value}{END} please."},
        )
        seen.add(stand_in(probe.provider.received[0]))
    assert len(seen) == 1
