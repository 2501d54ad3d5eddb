"""The inventory as one self-contained HTML page: no script, no outside asset, readable in print.

Every name on it comes from traffic and is escaped; a content security policy forbids
everything but the page's own styles, should an escape ever be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape

from penstock.record.inventory import Entry
from penstock.record.names import NONE

STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --soft: #586675; --line: #d9e0e6;
  --paper: #fbfcfd; --card: #fff; --water: #1f6f8b; --warn: #a8320a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9fb0bf; --line: #2c3a47;
  --paper: #10171d; --card: #17212a; --water: #6cc3dd; --warn: #ff9b73; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 86rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.75rem; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p.period { color: var(--soft); margin: 0 0 2rem; }
dl.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr));
  gap: 1rem; margin: 0; }
dl.figures div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .9rem 1rem; display: flex; flex-direction: column-reverse; }
dl.figures dt { color: var(--soft); font-size: .85rem; }
dl.figures dd { margin: 0; font-size: 1.5rem; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--card); }
.scroll:focus-visible { outline: 3px solid var(--water); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; padding: .8rem; color: var(--soft); }
th, td { padding: .55rem .8rem; text-align: left; vertical-align: top;
  border-top: 1px solid var(--line); }
thead td { border-top: 0; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 600; min-width: 10rem; max-width: 22rem; overflow-wrap: break-word; }
td small { overflow-wrap: anywhere; }
td.bar { width: 50%; vertical-align: middle; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
small { color: var(--soft); display: block; font-weight: 400; }
.unknown, .found { color: var(--warn); font-weight: 600; }
p.notice { border-left: .3rem solid var(--warn); background: var(--card); margin: 1.5rem 0 0;
  padding: .8rem 1rem; }
meter { width: 100%; height: .8rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { main { padding: 1.5rem 1rem 3rem; } .bar { display: none; } }
@media print { body { background: none; } .scroll { overflow: visible; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>AI services in use</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>AI services in use</h1>
<p class="period">{period}</p>
<dl class="figures">{figures}</dl>
{body}
<footer>Counts and names only: no prompt, no answer and no secret is kept. Costs are list prices;
calls without a known price are not in them.</footer>
</main>
</body>
</html>
"""


def page(entries: Sequence[Entry], notice: str = "") -> str:
    """The report as HTML; ``notice`` is what a reader must not miss."""
    warning = f'<p class="notice" role="status">{escape(notice)}</p>' if notice else ""
    body = _services(entries) + _findings(entries) + _table(entries)
    return PAGE.format(
        style=STYLE, period=_period(entries), figures=_figures(entries), body=warning + body
    )


def _period(entries: Sequence[Entry]) -> str:
    if not entries:
        return "Nothing was seen yet."
    first = min(entry.first_seen for entry in entries)
    last = max(entry.last_seen for entry in entries)
    return f"{_day(first)} to {_day(last)} (UTC)"


def _figures(entries: Sequence[Entry]) -> str:
    tokens = sum(entry.input_tokens + entry.output_tokens for entry in entries)
    figures = (
        ("services", f"{len({entry.host for entry in entries}):,}"),
        ("applications", f"{len({entry.app for entry in entries}):,}"),
        ("calls", f"{sum(entry.calls for entry in entries):,}"),
        ("tokens", f"{tokens:,}"),
        ("US dollars", _money(sum((entry.cost_usd for entry in entries), Decimal(0)))),
        ("findings", f"{sum(sum(entry.findings.values()) for entry in entries):,}"),
    )
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)


def _services(entries: Sequence[Entry]) -> str:
    """Calls by destination, largest first, as labelled bars."""
    calls: Counter[str] = Counter()
    by_host = {}
    for entry in entries:
        calls[entry.host] += entry.calls
        by_host[entry.host] = entry
    if not calls:
        return ""
    most = max(calls.values())
    rows = "".join(
        f'<tr><th scope="row">{_host(by_host[host])}</th>'
        f'<td class="bar"><meter min="0" max="{most}" value="{count}" aria-hidden="true"></meter>'
        "</td>"
        f'<td class="number">{count:,}</td></tr>'
        for host, count in calls.most_common(20)
    )
    return (
        '<h2>Services by calls</h2><div class="scroll" tabindex="0" role="region" '
        'aria-label="Services by calls"><table>'
        '<thead><tr><th scope="col">Service</th><td class="bar"></td>'
        f'<th scope="col" class="number">Calls</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _findings(entries: Sequence[Entry]) -> str:
    """What left, or would have: findings by type, with the applications."""
    counts: Counter[str] = Counter()
    apps: dict[str, set[str]] = {}
    for entry in entries:
        counts.update(entry.findings)
        for kind in entry.findings:
            apps.setdefault(kind, set()).add(entry.app)
    if not counts:
        return ""
    rows = "".join(
        f'<tr><th scope="row" class="found">{escape(kind)}</th>'
        f"<td>{escape(', '.join(sorted(apps[kind])))}</td>"
        f'<td class="number">{count:,}</td></tr>'
        for kind, count in counts.most_common()
    )
    return (
        '<h2>Found in the traffic</h2><div class="scroll" tabindex="0" role="region" '
        'aria-label="Found in the traffic"><table>'
        '<thead><tr><th scope="col">Type</th><th scope="col">Applications</th>'
        f'<th scope="col" class="number">Times</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _table(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    columns = ("Service", "Application", "Model", "Found")
    numbers = ("Calls", "Refused", "Input tokens", "Output tokens", "US dollars", "Last seen")
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    head += "".join(f'<th scope="col" class="number">{name}</th>' for name in numbers)
    rows = "".join(_row(entry) for entry in entries)
    return (
        '<h2>Everything seen</h2><div class="scroll" tabindex="0" role="region" '
        'aria-label="Everything seen"><table>'
        "<caption>One line for each service, application and model.</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(entry: Entry) -> str:
    users = f"<small>{escape(', '.join(sorted(entry.users)))}</small>" if entry.users else ""
    tools = f"<small>tools: {escape(', '.join(sorted(entry.tools)))}</small>" if entry.tools else ""
    found = "<br>".join(
        f'<span class="found">{escape(kind)}</span> × {count}'
        for kind, count in sorted(entry.findings.items())
    )
    unpriced = f"<small>{entry.unpriced} unpriced</small>" if entry.unpriced else ""
    model = "" if entry.model == NONE else escape(entry.model)
    numbers = (
        f"{entry.calls:,}",
        f"{entry.refused:,}",
        f"{entry.input_tokens:,}",
        f"{entry.output_tokens:,}",
        _money(entry.cost_usd) + unpriced,
        _day(entry.last_seen),
    )
    return (
        f'<tr><th scope="row">{_host(entry)}</th><td>{escape(entry.app)}{users}</td>'
        f"<td>{model}{tools}</td><td>{found}</td>"
        + "".join(f'<td class="number">{value}</td>' for value in numbers)
        + "</tr>"
    )


def _host(entry: Entry) -> str:
    category = escape(entry.category.replace("_", " "))
    if entry.known:
        provider = f"{escape(entry.provider)} · " if entry.provider else ""
        return f"{escape(entry.host)}<small>{provider}{category}</small>"
    return f'{escape(entry.host)}<small class="unknown">not in the catalogue · {category}</small>'


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.4f}"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
