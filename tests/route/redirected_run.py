"""`penstock run` as it is behind a packet filter's redirect: told what SO_ORIGINAL_DST would say.

Not a test. The address belongs to nobody (RFC 5737): where a call goes is its TLS name's affair.
"""

from __future__ import annotations

from mitmproxy import platform

from penstock.cli import main

ORIGINAL_ADDRESS = ("203.0.113.7", 443)

if __name__ == "__main__":
    platform.original_addr = lambda connection: ORIGINAL_ADDRESS
    main()
