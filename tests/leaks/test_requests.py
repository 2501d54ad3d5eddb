"""What is planted in a request does not arrive, wherever in the request it stands."""

from __future__ import annotations

import pytest

from tests.leaks.dialect import PLACES, Dialect
from tests.leaks.probing import DIALECTS, Probe, in_pieces, whole
from tests.leaks.values import SHORT, json_web_token, leaked, password, private_key

streamed = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
dialects = pytest.mark.parametrize("dialect", DIALECTS, ids=[one.name for one in DIALECTS])


def ask(probe: Probe, dialect: Dialect, streamed: bool, texts: dict[str, str]) -> str:
    answer = in_pieces(dialect, "text", ["Yes."]) if streamed else whole(dialect, "text", "Yes.")
    probe.ask(dialect, streamed, answer, texts)
    return probe.sent()


@streamed
@dialects
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", SHORT)
def test_a_planted_value_does_not_arrive(
    probe: Probe, dialect: Dialect, streamed: bool, place: str, kind: str
) -> None:
    """One value, one place; the words around it and all other places arrive."""
    value = SHORT[kind]()
    sent = ask(probe, dialect, streamed, {place: f"Before it: {value} and after it."})
    assert leaked(value, sent) is None
    assert "Before it: " in sent and " and after it." in sent
    assert all(f"A {other}." in sent for other in PLACES if other != place)


@dialects
@pytest.mark.parametrize("place", PLACES)
def test_a_long_token_does_not_arrive(probe: Probe, dialect: Dialect, place: str) -> None:
    """Longer than what filters with a fixed window look at: 257 characters, and 10 KB."""
    for size in (257 + 344, 10_000):
        token = json_web_token(size)
        assert leaked(token, ask(probe, dialect, False, {place: f"Use {token} now."})) is None


@dialects
@pytest.mark.parametrize("size", [1023, 1025, 100_000])
def test_a_long_password_does_not_arrive(probe: Probe, dialect: Dialect, size: int) -> None:
    """In quotes, bare, in an address, as a bearer token: whatever its length."""
    values = [password(size) for _ in range(4)]
    text = (
        f"password = '{values[0]}' DB_PASSWORD={values[1]} postgres://user:{values[2]}@db.org "
        f"Authorization: Bearer {values[3]} now."
    )
    sent = ask(probe, dialect, False, dict.fromkeys(("user", "tool_result"), text))
    assert [leaked(value, sent) for value in values] == [None] * 4
    assert sent.count(" now.") == 2


@dialects
def test_a_long_private_key_does_not_arrive(probe: Probe, dialect: Dialect) -> None:
    """Longer than any real one."""
    value = private_key(lines_of=1000)
    sent = ask(probe, dialect, False, {"tool_result": f"It is\n{value}\nindeed."})
    assert leaked(value.replace("\n", "\\n"), sent) is None


@streamed
@dialects
def test_values_everywhere_at_once(probe: Probe, dialect: Dialect, streamed: bool) -> None:
    """All kinds in all places of one request."""
    planted = {place: [make() for make in SHORT.values()] for place in PLACES}
    texts = {place: " / ".join(values) for place, values in planted.items()}
    sent = ask(probe, dialect, streamed, texts)
    for place, values in planted.items():
        for value in values:
            assert leaked(value, sent) is None, place
