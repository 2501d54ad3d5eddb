"""``callers``: how whoever calls has to prove who they are."""

from __future__ import annotations

from penstock.caller.identity import (
    DEFAULT_ALGORITHMS,
    DEFAULT_USER,
    CallerCheck,
    JwtCheck,
    MtlsCheck,
)
from penstock.policy.language.read import Section


def build(section: Section) -> CallerCheck | None:
    """What a ``callers`` section asks for; None (and problems) when it is not clear."""
    before = len(section.reader.problems)
    if not {"passwords", "jwt", "mtls"} & section.lines.keys():
        section.report("name 'passwords', 'jwt' or 'mtls': how callers prove who they are")
    jwt = None
    token = section.values.get("jwt")
    if isinstance(token, Section):
        values = token.values
        keys = values.get("keys", "")
        if "://" in keys:
            from penstock.route.credentials.ask import address_problem

            if problem := address_problem(keys):
                token.report(f"the address is {problem}", "keys")
        for name in ("audience", "algorithms"):
            if values.get(name) == ():
                token.report("an empty list admits no token", name)
        if not {"issuer", "audience", "keys"} - values.keys():
            jwt = JwtCheck(
                values["issuer"],
                values["audience"],
                keys,
                values.get("algorithms", DEFAULT_ALGORITHMS),
                values.get("user", DEFAULT_USER),
                values.get("ca", ""),
            )
    certificates = section.values.get("mtls")
    mtls = None
    if isinstance(certificates, Section):
        if certificates.values.get("names") == ():
            certificates.report("an empty list admits nobody", "names")
        if "ca" in certificates.values:
            names = certificates.values.get("names", ())
            mtls = MtlsCheck(certificates.values["ca"], tuple(names))
    if len(section.reader.problems) > before:
        return None
    required = section.values.get("required", "true") == "true"
    return CallerCheck(required, section.values.get("passwords", ""), jwt, mtls)
