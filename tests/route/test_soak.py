"""The short form of the failover soak; hours of it: ``scripts/soak --failover --seconds 7200``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_failing_over_for_a_while_loses_nothing() -> None:
    """Each way to fail comes by; every call has one whole answer, and nothing is left behind."""
    command = [sys.executable, str(ROOT / "scripts" / "soak_failover.py"), "--seconds", "8"]
    done = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, timeout=100, check=False, cwd=ROOT
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    assert result["problems"] == [], result
    assert result["faults"] >= 9 and result["retries"] > 0, result
