"""``penstock run`` for the suite's client direction: the same, but loopback may be reached.

The suite starts its servers on free ports of this machine, in the middle of the run. The product
opens such ports one by one (``--connect-to HOST:PORT=…``); nobody knows these before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.proxy.service import Service
from penstock.proxy.settings import Address, EngineSettings
from penstock.stack import stack


class Loopback(dict[Address, Address]):
    """Every port of this machine, dialled as it is called."""

    def get(self, key: Any, default: Any = None) -> Any:
        return ("127.0.0.1", key[1]) if key[0] in ("localhost", "127.0.0.1") else default

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None


def main(policy: Path, state: Path, ready: Path) -> int:
    everything: Mapping[Address, Address] = Loopback()
    settings = EngineSettings(
        state, listen=("127.0.0.1", 0), admin=("127.0.0.1", 0), connect_to=everything
    )
    return Service(settings, [policy], None, stack, ready).run()


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
