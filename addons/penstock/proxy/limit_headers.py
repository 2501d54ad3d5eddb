"""``RateLimit`` and ``RateLimit-Policy`` on answers of calls that limits apply to.

Source: draft-ietf-httpapi-ratelimit-headers (structured fields). The tightest limit is the
one reported; the provider's own rate-limit headers stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mitmproxy import http

from penstock.meter.quotas import Quotas, Reservation


def add_limit_headers(
    headers: http.Headers, quotas: Quotas, reservations: Sequence[Reservation], now: float
) -> None:
    """Report how the tightest of the call's limits stands at ``now``."""
    claims = [claim for reservation in reservations for claim in reservation.claims]
    if not claims:
        return
    tightest = quotas.remaining(now, claims)[0]
    name = quoted(tightest.rule)
    headers["ratelimit-policy"] = (
        f'{name};q={math.ceil(tightest.limit)};w={tightest.every_seconds};qu="{tightest.unit}"'
    )
    left = max(0, math.floor(tightest.remaining))
    headers["ratelimit"] = f"{name};r={left};t={math.ceil(tightest.reset_seconds)}"


def quoted(text: str) -> str:
    """A structured-field string (RFC 9651 section 3.3.3): ASCII, quotes escaped."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
