"""Which strings of an MCP answer are worth judging: definitions known to hold nothing are not."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.detect.placeholders import PREFIX
from penstock.exchange import Leaf
from penstock.mcp.definitions import Digests, telling_leaves
from penstock.proxy.governance import CallState, Governance
from penstock.wire.jsonrpc import MessageLeaves


def worth_judging(
    governance: Governance, state: CallState, leaves: MessageLeaves, digests: Digests | None = None
) -> Sequence[Leaf]:
    """The strings of an answer but for definitions, of those only the ones that hold something.

    What is known of a definition counts until the policy changes, and with it the detectors.
    """
    reads = governance.policy.reads_answers or bool(governance.policy.call_types)
    if not reads and state.restorer(nested=False) is None:
        return leaves  # nobody looks

    def holding(texts: set[str]) -> set[str]:
        return {
            text
            for text in texts
            if PREFIX in text or (reads and text and state.findings(text, "tool_definition"))
        }

    memo = governance.memo
    digests = digests or Digests(memo.digest, leaves)
    return telling_leaves(leaves, digests, memo.is_clean, memo.note_clean, holding)
