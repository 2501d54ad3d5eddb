"""``python -m tests.leaks.prepare DIR``: the upstream's CA, before a proxy is started."""

from __future__ import annotations

import sys
from pathlib import Path

from penstock.cli.demo.certificate import write_server_certificate
from tests.leaks.conftest import UPSTREAM_PORT
from tests.leaks.probing import HOSTS

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    ca, _, _ = write_server_certificate(folder, HOSTS)
    print(f"trust {ca}; send to 127.0.0.1:{UPSTREAM_PORT}:")
    for host in HOSTS:
        print(f"  {host}:443")
