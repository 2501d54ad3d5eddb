"""What every refusal has in common, whichever family says it.

The families own the shape of the body; this module owns the headers that make the known
SDKs behave: they retry 408, 409, 429 and 5xx unless ``x-should-retry`` says otherwise, and
some sleep through any ``retry-after``, however long. It never puts a finding's text, or a
character that could start another header, into a value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from penstock.exchange import HttpAnswer
from penstock.wire.family import Refusal

# An SDK may usefully wait this long by itself; a longer wait would look like a hang.
RETRY_WAIT_SECONDS_MAX = 60
# Retry-After is read as an integer by clients that keep it in 32 bits (RFC 9110, 10.2.3).
RETRY_AFTER_SECONDS_MAX = 2**31 - 1
# Long enough for any rule id; a header line must stay small.
HEADER_WORD_LENGTH_MAX = 128


def refusal_headers(refusal: Refusal) -> dict[str, str]:
    """The headers every refusal carries (lower-case names).

    A wait of up to a minute: ``retry-after`` (whole seconds, at least 1) and
    ``retry-after-ms``. A longer one: the true ``retry-after`` and ``x-should-retry: false``.
    A policy refusal, or a limit without a known end: ``x-should-retry: false``.
    """
    decision = f"deny; rule={_word(refusal.rule)}; id={_word(refusal.decision_id)}"
    headers = {"penstock-decision": decision}
    wait = refusal.retry_after_seconds
    if refusal.status != 429 or wait is None or math.isnan(wait):
        headers["x-should-retry"] = "false"
        return headers
    wait = min(max(wait, 0.0), RETRY_AFTER_SECONDS_MAX)
    headers["retry-after"] = str(max(1, math.ceil(wait)))
    if wait <= RETRY_WAIT_SECONDS_MAX:
        headers["retry-after-ms"] = str(max(1, math.ceil(wait * 1000)))
    else:
        headers["x-should-retry"] = "false"
    return headers


def json_refusal(
    refusal: Refusal, document: Any, extra_headers: Mapping[str, str] | None = None
) -> HttpAnswer:
    """A plain answer with ``document`` as its JSON body and the common headers."""
    headers = {"content-type": "application/json", **refusal_headers(refusal)}
    headers.update(extra_headers or {})
    return HttpAnswer(refusal.status, headers, json.dumps(document).encode())


def _word(text: str) -> str:
    """``text`` as a header word: visible ASCII without the separators, bounded."""
    kept = (character if _is_plain(character) else "_" for character in text)
    return "".join(kept)[:HEADER_WORD_LENGTH_MAX]


def _is_plain(character: str) -> bool:
    return "!" <= character <= "~" and character not in ';,="'
