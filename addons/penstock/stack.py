"""The product at a glance: our addons, in the order a flow meets them.

Before these the engine (``proxy/engine.py``) puts what makes it an engine: listeners, the
layers of ``proxy/layers.py``, passthrough (what the policy does not name is not decrypted)
and the guard (CONNECT target = SNI = Host, no way to local addresses).
"""

from __future__ import annotations

from penstock.proxy.answer import Answer
from penstock.proxy.callers import Callers
from penstock.proxy.credential import Credential
from penstock.proxy.govern import Govern
from penstock.proxy.governance import Governance
from penstock.proxy.identify import Identify
from penstock.proxy.report import Report
from penstock.proxy.route import Route
from penstock.proxy.service import Addon
from penstock.proxy.settle import Settle
from penstock.proxy.sockets import Sockets


def stack(governance: Governance) -> list[Addon]:
    """capture and identify, parse -> decide and act -> stream -> settle -> record."""
    return [
        Callers(governance),  # who calls, proved where the policy asks for it
        Identify(governance),  # flow -> Caller, Destination, Exchange
        Sockets(governance),  # the messages of a WebSocket, each judged like a body
        Govern(governance),  # Exchange -> Decision -> edited bytes or a refusal
        Route(governance),  # the targets of a call that may be served elsewhere
        Credential(governance),  # the real key in place of the caller's worthless one
        Answer(governance),  # the answer, plain or streamed, judged again
        Settle(governance),  # usage -> price and quota
        Report(governance),  # one Record per call
    ]
