"""Only certificates leave the state directory."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from penstock.cli.trust_directory import publish
from tests.harness import running_penstock

POLICY = "version: 1\nname: team\nmode: observe\nrules: []\n"


def test_a_running_proxy_has_published_its_certificates_and_not_its_key(tmp_path: Path) -> None:
    """Before it is ready: a pod's startup probe holds the application until then."""
    trust = tmp_path / "trust"
    with running_penstock(tmp_path / "p", POLICY, arguments=("--trust-dir", str(trust))) as one:
        files = {file.name: file for file in trust.iterdir()}
        assert files.keys() == {"ca.pem", "ca-bundle.pem"}
        for name, file in files.items():
            assert file.read_bytes() == (one.state / name).read_bytes()
            assert stat.S_IMODE(file.stat().st_mode) == 0o644
            assert b"PRIVATE KEY" not in file.read_bytes()


def test_a_half_written_copy_is_not_left(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ca.pem").write_text("x")
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "state", tmp_path / "trust")
    assert [file.name for file in (tmp_path / "trust").iterdir()] == ["ca.pem"]
