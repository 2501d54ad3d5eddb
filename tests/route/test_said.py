"""What providers say about their limits, in each one's spelling, and nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.route.said import retry_after, room, span

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "60", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Fri, 15 Jan 2027 08:02:00 GMT"}, 120),
        ({"retry-after": "Fri, 15 Jan 2021 08:02:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "9" * 400}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """RFC 9110 section 10.2.3, and the SDKs' milliseconds."""
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("120ms", 0.12),
        ("1s", 1),
        ("2m", 120),
        ("17", 17),
        ("2027-01-15T08:00:30Z", 30),
        ("2027-01-15T07:00:30Z", 0),
        ("", None),
        ("later", None),
        ("m", None),
    ],
)
def test_span(text: str, seconds: float | None) -> None:
    """OpenAI's, Azure's and Anthropic's resets."""
    assert span(text, NOW) == (None if seconds is None else pytest.approx(seconds))


def test_room_is_the_tightest_limit() -> None:
    """No requests left means no tokens left; else the smallest count of tokens."""
    openai = {
        "x-ratelimit-remaining-requests": "10",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "150",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert room(openai, NOW) == (150, NOW + 360)
    assert room(openai | {"x-ratelimit-remaining-requests": "0"}, NOW) == (0, NOW + 1)
    anthropic = {
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:10Z",
        "anthropic-ratelimit-tokens-remaining": "9000",
        "anthropic-ratelimit-tokens-reset": "2027-01-15T08:01:00Z",
    }
    assert room(anthropic, NOW) == (0, NOW + 10)
    assert room({"x-ratelimit-remaining-tokens": "5"}, NOW) is None  # no word about when


@given(st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-remaining-requests",
                     "x-ratelimit-reset-requests", "anthropic-ratelimit-tokens-reset",
                     "anthropic-ratelimit-tokens-remaining"]),
    st.text(max_size=60),
))  # fmt: skip
def test_nonsense_says_nothing(headers: dict[str, str]) -> None:
    """Whatever a hostile upstream writes: no exception, no negative wait."""
    wait = retry_after(headers, NOW)
    assert wait is None or wait >= 0
    left = room(headers, NOW)
    assert left is None or (left[0] >= 0 and left[1] >= NOW)
