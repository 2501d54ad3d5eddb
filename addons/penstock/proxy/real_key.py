"""The real key of a call, whatever carries the call: where it stands, and what is said without one.

Shared by the proxy's path, where a request is a flow, and by the gateway's, where it is one of a
client's. Knows neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from penstock.exchange import Destination, HttpAnswer
from penstock.policy.decision import Decision, Reason, Use
from penstock.proxy.call import LiveCall
from penstock.wire.family import Refusal

if TYPE_CHECKING:
    from penstock.route.credentials.fetched import Fetched, SourceError

# What a destination answers to a key it does not take (AWS: 403 for an expired signature).
REJECTED = (401,)
REJECTED_SIGNATURE = (401, 403)

Fields = list[tuple[bytes, bytes]]


@dataclass(slots=True, frozen=True)
class Sent:
    """A request as it would leave: ``path`` with its query, ``host`` as the Host header has it."""

    method: str
    host: str
    path: str
    fields: Sequence[tuple[bytes, bytes]]
    body: bytes

    def field(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        return next((value for own, value in self.fields if own.lower() == name), None)


def rejects(use: Use, status: int) -> bool:
    """True for a status that says that the key was not taken."""
    return status in (REJECTED_SIGNATURE if use.spec.form == "sigv4" else REJECTED)


def with_key(
    use: Use, fetched: Fetched, sent: Sent, destination: Destination
) -> tuple[Fields, str]:
    """Fields and path with this key, and none of the caller's. SourceError when it cannot be."""
    from penstock.route.credentials.fetched import AwsKeys, SourceError
    from penstock.route.credentials.places import form_for, placed, without_credentials
    from penstock.route.credentials.sigv4 import scope_of, sign

    if not isinstance(fetched.value, AwsKeys):
        form = form_for(use.spec, sent.fields, sent.path, destination.provider)
        return placed(sent.fields, sent.path, form, fetched.value)
    signed_body = sent.field(b"x-amz-content-sha256")
    if signed_body is not None and signed_body.startswith(b"STREAMING-"):
        raise SourceError("the caller signs its body piece by piece")
    scope = scope_of(destination.host, sent.fields)
    kept, path = without_credentials(sent.fields, sent.path)
    if signed_body is not None and all(name.lower() != b"x-amz-content-sha256" for name, _ in kept):
        kept.append((b"X-Amz-Content-SHA256", b""))
    now = datetime.now(UTC)
    return sign(sent.method, sent.host, path, kept, sent.body, fetched.value, scope, now), path


def without(live: LiveCall, use: Use, error: SourceError) -> HttpAnswer | None:
    """There is no key: the refusal, or None where the rule lets the call go without."""
    live.failure_reason = f"{use.rule}: {error}"
    if use.on_error == "allow":
        live.failure = "failed_open"
        return None
    live.failure = "failed_closed"
    message = (
        f"The key for {live.call.destination.host} (policy rule '{use.rule}') is not to be "
        "had at the moment, so the call was not made."
    )
    return refused(live, use.rule, message)


def refused(live: LiveCall, rule: str, message: str) -> HttpAnswer:
    """Refuse a call that was let through by the policy; its reservations are given back."""
    before = live.decision
    decision = Decision(verdict="deny", would="deny", policy_hash=before.policy_hash)
    decision.reasons = [*before.reasons, Reason(rule, "credential", "deny", message)]
    decision.findings, decision.reservations = before.findings, before.reservations
    decision.refusal = Refusal(
        403, "credential_unavailable", message, rule, live.call.id, call=live.call.exchange.mcp
    )
    live.decision, live.outcome = decision, "refused"
    answer = live.family.refusal(decision.refusal)
    live.status = answer.status
    return answer
