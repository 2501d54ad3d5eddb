"""The product at a glance: our addons, in the order a flow meets them.

Before these the engine (``proxy/engine/engine.py``) puts what makes it an engine: listeners, the
layers of ``proxy/engine/layers.py``, passthrough (what the policy does not name is not decrypted)
and the guard (CONNECT target = SNI = Host, no way to local addresses).
"""

from __future__ import annotations

from penstock.proxy.addons.answer import Answer
from penstock.proxy.addons.callers import Callers
from penstock.proxy.addons.credential import Credential
from penstock.proxy.addons.govern import Govern
from penstock.proxy.addons.identify import Identify
from penstock.proxy.addons.other import Other
from penstock.proxy.addons.report import Report
from penstock.proxy.addons.route import Route
from penstock.proxy.addons.settle import Settle
from penstock.proxy.addons.sockets import Sockets
from penstock.proxy.governance import Governance
from penstock.proxy.service import Addon


def stack(governance: Governance) -> list[Addon]:
    """capture and identify, parse -> decide and act -> stream -> settle -> record."""
    identify = Identify(governance)
    return [
        Callers(governance),  # who calls, proved where the policy asks for it
        identify,  # flow -> Caller, Destination, Exchange
        Sockets(governance),  # the messages of a WebSocket, each judged like a body
        Govern(governance),  # Exchange -> Decision -> edited bytes or a refusal
        Route(governance),  # the targets of a call that may be served elsewhere
        Credential(governance),  # the real key in place of the caller's worthless one
        Answer(governance),  # the answer, plain or streamed, judged again
        Settle(governance),  # usage -> price and quota
        Report(governance),  # one Record per call
        Other(governance, identify),  # and one for what was refused before it was a call
    ]
