"""Penstock: a sidecar egress proxy for AI traffic.

The way of a call, and the room of each step:

    capture   proxy         a mitmproxy hook fires
    identify  caller, destinations
    parse     wire          bytes -> Exchange
    decide    policy        pure: Exchange + State -> Decision
    act       proxy         edited bytes, or a refusal in the provider's own error shape
    stream    wire, proxy   chunk by chunk
    settle    meter         usage, price, quota
    record    record        one Record per call

``stack.py`` is the product at a glance.
"""

__version__ = "0.1.0"
