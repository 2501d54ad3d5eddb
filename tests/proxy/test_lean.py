"""Importing the room does not import what it does not use."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.proxy.raw import SOURCE


def run(code: str) -> str:
    """Run ``code`` in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    ).stdout.strip()


def test_the_engine_leaves_the_default_addons_out() -> None:
    """No LDAP client and no web framework in the sidecar."""
    loaded = "print(sorted({'ldap3', 'flask'} & {*sys.modules}))"
    code = f"import sys, penstock.proxy.engine.engine; {loaded}"
    assert run(code) == "[]"


def test_the_default_addons_are_there_for_who_asks() -> None:
    """The rest of the core still works in the same process."""
    code = (
        "import penstock.proxy, mitmproxy.addons as a;"
        "from mitmproxy.addons import view; print(len(a.default_addons()) > 20, view.View.__name__)"
    )
    assert run(code) == "True View"


def test_settings_do_not_load_the_core() -> None:
    """The command line reads settings without paying for the engine."""
    code = "import sys, penstock.proxy.settings; print('mitmproxy.http' in sys.modules)"
    assert run(code) == "False"
