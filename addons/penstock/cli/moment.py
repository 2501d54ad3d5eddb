"""Time on the command line: spans (``30m``, ``2h``, ``7d``) and points in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

SPANS = {"m": 60, "h": 3600, "d": 86_400}


class SpanType(click.ParamType[float]):
    """``30m``, ``2h`` or ``7d``, in seconds."""

    name = "SPAN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        number, unit = text[:-1], text[-1:]
        if not number.isascii() or not number.isdecimal() or unit not in SPANS or not int(number):
            self.fail(f"{text!r} is not a time such as 30m, 2h or 7d", param, ctx)
        return float(int(number) * SPANS[unit])


def moment(text: str | None) -> datetime | None:
    """The time ``--since`` means; a usage error when it means none."""
    if text is None:
        return None
    if text[:-1].isdecimal() and text[-1] in SPANS:
        return datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * SPANS[text[-1]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not 30m, 2h, 7d or a time", param_hint="--since"
        ) from None
    return found if found.tzinfo else found.astimezone()
