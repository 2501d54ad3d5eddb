"""Points in time on the command line: ``30m``, ``2h``, ``7d`` ago, or a date and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

SPANS = {"m": 60, "h": 3600, "d": 86_400}


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
