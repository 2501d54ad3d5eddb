"""Starts one engine in a process of its own, for tests. Not part of the product.

Usage: ``python launcher.py SETTINGS.json``. The file holds ``settings`` (fields of
EngineSettings), ``limits`` (fields of Limits), ``wants`` (host -> wish), ``addon``
(FILE.py:CLASS) and ``on_error``. Prints one JSON line with the ports once they are open.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import sys
from pathlib import Path
from typing import Any

from mitmproxy import platform

from penstock.proxy.engine.connect_to import parse_connect_to
from penstock.proxy.engine.engine import serve
from penstock.proxy.engine.runtime import Callbacks, Listening
from penstock.proxy.settings import EngineSettings, Limits, Reverse


def load(reference: str | None) -> list[Any]:
    if not reference:
        return []
    file, _, name = reference.rpartition(":")
    spec = importlib.util.spec_from_file_location("engine_test_addon", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["engine_test_addon"] = module
    spec.loader.exec_module(module)
    return [getattr(module, name)()]


def reverse_from(given: list[Any] | None) -> Reverse | None:
    """Listening address, scheme and target, as JSON has them."""
    return Reverse(tuple(given[0]), given[1], tuple(given[2])) if given else None


def main() -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    given = asked.get("settings", {})
    wants = asked.get("wants", {})

    def ready(listening: Listening) -> None:
        ports = {
            "proxy": listening.proxy,
            "transparent": listening.transparent,
            "reverse": listening.reverse,
        }
        print(json.dumps({"ready": ports}), flush=True)

    def refused(code: str, host: str) -> None:
        print(json.dumps({"refused": code, "host": host}), flush=True)

    settings = EngineSettings(
        state_dir=Path(given["state_dir"]),
        listen=tuple(given.get("listen", ("127.0.0.1", 0))),
        admin=tuple(given["admin"]) if given.get("admin") else None,
        transparent=tuple(given["transparent"]) if given.get("transparent") else None,
        reverse=reverse_from(given.get("reverse")),
        upstream_ca=Path(given["upstream_ca"]) if given.get("upstream_ca") else None,
        connect_to=parse_connect_to(given.get("connect_to", [])),
        http2=given.get("http2", False),
        limits=Limits(**asked.get("limits", {})),
    )
    callbacks = Callbacks(
        wants=lambda host, port: wants.get(host, wants.get("*", "intercept")),
        on_error=lambda failure: asked.get("on_error", "deny"),
        ready=ready,
        refused=refused,
    )
    if asked.get("redirected_from"):
        # No packet filter in a test: say what SO_ORIGINAL_DST would say.
        platform.original_addr = lambda connection: tuple(asked["redirected_from"])
    logging.basicConfig(level=logging.WARNING)
    return asyncio.run(serve(settings, load(asked.get("addon")), callbacks))


if __name__ == "__main__":
    sys.exit(main())
