"""What an answer's head says about room: Retry-After and the providers' rate-limit headers.

Sources: RFC 9110 section 10.2.3; OpenAI and Azure OpenAI (``x-ratelimit-*``, resets as ``6m0s``
or seconds); Anthropic (``anthropic-ratelimit-*``, resets as RFC 3339). Anything unreadable says
nothing. Seconds throughout; ``now`` is seconds since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# More than the largest context and the longest answer: no single call needs it.
PLENTY = 2_500_000
DIGITS_MAX = 9

# A number of digits no honest header exceeds.
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?\Z")
_SPAN = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m(?!s))?(?:([0-9]{1,6}(?:\.[0-9]{1,9})?)s)?")
_MILLISECONDS = re.compile(r"([0-9]{1,9})ms\Z")

# (what is left, when it is full again), requests first.
_REQUESTS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
)
_TOKENS = (
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait; None where nothing readable is said."""
    text = headers.get("retry-after-ms", "").strip()
    if _NUMBER.match(text):
        return float(text) / 1000
    text = headers.get("retry-after", "").strip()
    if _NUMBER.match(text):
        return float(text)
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)


def room(headers: Mapping[str, str], now: float) -> tuple[int, float] | None:
    """(tokens left, until when) where a limit is near; None where there is room or no word.

    No requests left means no tokens left either.
    """
    for left, reset in _REQUESTS:
        if headers.get(left) == "0" and (wait := span(headers.get(reset, ""), now)) is not None:
            return 0, now + wait
    nearest = None
    for left, reset in _TOKENS:
        text = headers.get(left)
        if text is None or not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
            continue
        tokens = int(text)
        if tokens < PLENTY and (nearest is None or tokens < nearest[0]):
            wait = span(headers.get(reset, ""), now)
            if wait is not None:
                nearest = tokens, now + wait
    return nearest


def span(text: str, now: float) -> float | None:
    """``6m0s``, ``120ms``, ``1.5`` (seconds) or an RFC 3339 moment as seconds from now."""
    text = text.strip()
    if _NUMBER.match(text):
        return float(text)
    if match := _MILLISECONDS.match(text):
        return int(match[1]) / 1000
    match = _SPAN.fullmatch(text)
    if match and text:
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)
