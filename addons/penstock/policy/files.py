"""The files inside a request, looked at before it is judged, where a rule asks for them."""

from __future__ import annotations

from penstock.detect.files.blobs import blobs_in
from penstock.detect.files.documents import UnreadableError, document_leaves
from penstock.policy.call import Call
from penstock.policy.policy import Policy


def look_into_files(policy: Policy, call: Call, body: bytes, aside: bool = True) -> str | None:
    """Add to the call what its files are and say, once; why one cannot be read, or None.

    ``aside``: not on the loop, so that reading may take its time.
    """
    if call.looked_into or not (policy.asks_for_blobs or policy.reads_documents):
        return None
    call.looked_into = True
    if policy.asks_for_blobs:
        call.blobs = tuple(blobs_in(call.exchange, body))
    if not policy.reads_documents or not has_files(call):
        return None
    if not aside:
        return "the files in it can be read over plain HTTP only"
    try:
        call.exchange.leaves = [
            *call.exchange.leaves,
            *document_leaves(call.exchange, body),
        ]
    except UnreadableError as error:
        return f"a file in it cannot be read: {error}"
    return None


def has_files(call: Call) -> bool:
    """True when there is a file to look into."""
    return any(leaf.blob or leaf.text.startswith("data:") for leaf in call.exchange.leaves)
