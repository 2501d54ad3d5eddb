"""``approvals``: who hears of calls that wait for a person."""

from __future__ import annotations

from penstock.mcp.approvals import Announce
from penstock.policy.language.read import Section


def build(section: Section) -> Announce | None:
    """The webhook of an ``approvals`` section; None (and problems) when it is not clear."""
    from penstock.route.credentials.ask import address_problem

    values = section.values
    url, secret_file = values.get("webhook"), values.get("secret_file")
    if not url or not secret_file:
        return None  # reported where they are missing
    if problem := address_problem(url):
        section.report(f"the address is {problem}", "webhook")
        return None
    return Announce(url, secret_file, values.get("ca", ""))
