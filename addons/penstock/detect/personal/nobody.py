"""Contact data that is no person's: made up, a role's, a public service's.

Such values are found all the same, with little weight: whoever redacts mail addresses wants
them gone, whoever counts what leaked about people does not want them counted.
"""

from __future__ import annotations

import re

from penstock.detect.secrets.values import words

MADE_UP_SCORE = 0.35
# Domains that belong to nobody (RFC 2606, RFC 6761).
_DOCUMENTED = re.compile(r"(?:\A|\.)example\.(?:com|org|net)\Z|\.(?:example|test|invalid)\Z")
# Names that stand for "somebody" at domains that stand for "somewhere".
_SOMEBODY = re.compile(
    r"(?:j(?:ohn|ane)?[._-]?(?:doe|smith)|(?:your|my|user|first|full)?[._-]?(?:name|e?mail|user)"
    r"|(?:first|f)[._-]?(?:name)?[._-]?last(?:name)?|foo|bar|test(?:er|user)?|some(?:one|body)"
    r"|alice|bob|recipient|sender|customer|me|you)\d{0,3}\Z"
)
_SOMEWHERE = words(
    "email.com mail.com domain.com company.com test.com yourdomain.com mydomain.com"
    " yourcompany.com mycompany.com website.com site.com server.com foo.com bar.com"
)
# Mailboxes of a role (RFC 2142) or of a machine that sends and does not read.
_ROLE = re.compile(
    r"(?:no|do|donot|do-not|not)?[._-]?reply|(?:no-?)?(?:alerts?|notifications?|notify|updates?)"
    r"|info|support|help(?:desk)?|contact|sales|marketing|billing|invoices?|orders?|service|office"
    r"|admin|administrator|webmaster|hostmaster|postmaster|abuse|security|privacy|legal|press"
    r"|jobs|careers|newsletter|news|mailer-daemon|root|noc|feedback|customer-?(?:service|care)"
)
# Resolvers that everybody may use, and networks for documentation (RFC 5737).
_PUBLIC = words(
    "8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 9.9.9.9 149.112.112.112 208.67.222.222 208.67.220.220"
)
_DOCUMENTATION_NETWORKS = ("192.0.2.", "198.51.100.", "203.0.113.")
# North American numbers that the called party pays for: a company's.
_TOLL_FREE = re.compile(r"(?:\+?1[ .-]?)?\(?8(?:00|33|44|55|66|77|88)\)?[ .-]")
# "Call us at": the number of whoever wrote the text to everybody.
_OURS = re.compile(r"\b(?:call|contact|reach|phone|ring|text) us\b[^.\n]{0,24}\Z", re.IGNORECASE)
OURS_REACH = 40


def mailbox_of_nobody(local: str, domain: str) -> bool:
    """A documentation domain, a made-up person, a role."""
    local, domain = local.lower(), domain.lower()
    return (
        _DOCUMENTED.search(domain) is not None
        or (domain in _SOMEWHERE and _SOMEBODY.fullmatch(local) is not None)
        or _ROLE.fullmatch(local) is not None
    )


def address_of_nobody(address: str) -> bool:
    """An IPv4 address of a public resolver or for documentation."""
    return address in _PUBLIC or address.startswith(_DOCUMENTATION_NETWORKS)


def line_of_a_company(text: str, start: int, end: int) -> bool:
    """A toll-free number, or one that its owners give to everybody."""
    if _TOLL_FREE.match(text, start, end):
        return True
    return _OURS.search(text, max(0, start - OURS_REACH), start) is not None
