"""Which strings of an MCP answer are worth judging: definitions known to hold nothing are not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from penstock.detect.memo import Memo
from penstock.detect.placeholders import PREFIX
from penstock.exchange import Leaf, Zone
from penstock.mcp.definitions import Digests, telling_leaves
from penstock.proxy.governance import CallState, Governance
from penstock.wire.jsonrpc.calls import MessageLeaves


def worth_judging(
    governance: Governance, state: CallState, leaves: MessageLeaves, digests: Digests | None = None
) -> Sequence[Leaf]:
    """The strings of an answer but for definitions, of those only the ones that hold something.

    What is known of a definition counts until the policy changes, and with it the detectors.
    """
    reads = governance.policy.reads_answers or bool(governance.policy.call_types)
    if not reads and state.restorer(nested=False) is None:
        return leaves  # nobody looks

    memo = governance.memo
    digests = digests or Digests(memo.digest, leaves)
    holding = partial(_holding, memo, reads)
    return telling_leaves(leaves, digests, memo.is_clean, memo.note_clean, holding)


def worth_scanning(
    governance: Governance, state: CallState, leaves: MessageLeaves
) -> Sequence[Leaf]:
    """The same of a streamed message, whose texts come whole: those in which nothing is found
    need no scanner that waits for more. Notifications come by the thousand.
    """
    told = worth_judging(governance, state, leaves)
    policy = governance.policy
    if policy.call_types or policy.marks_answers or state.restorer(nested=False) is not None:
        return told  # somebody looks at every text
    texts: dict[Zone, set[str]] = defaultdict(set)
    for leaf in told:
        texts[leaf.zone].add(leaf.text)
    held = {zone: _holding(governance.memo, True, said, zone) for zone, said in texts.items()}
    return [leaf for leaf in told if leaf.text in held[leaf.zone]]


def _holding(memo: Memo, reads: bool, texts: set[str], zone: Zone = "tool_definition") -> set[str]:
    """Those of the texts in which something is found, or may have to be put back."""
    held = {text for text in texts if PREFIX in text}
    if reads:
        found = memo.scan_all(texts - held - {""}, zone)
        held.update(text for text, findings in found.items() if findings)
    return held
