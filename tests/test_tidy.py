"""The tidy check is a test, so that it cannot be forgotten."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TIDY = Path(__file__).resolve().parent.parent / "scripts" / "tidy.py"


@pytest.fixture
def tidy() -> ModuleType:
    specification = importlib.util.spec_from_file_location("tidy", TIDY)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_source_is_tidy(tidy: ModuleType) -> None:
    assert tidy.findings() == []


def test_tidy_sees_a_long_function(tidy: ModuleType, tmp_path: Path) -> None:
    """The check can fail: a function one line too long is reported with its line."""
    source = tmp_path / "long.py"
    body = "\n".join("    pass" for _ in range(tidy.FUNCTION_LINES))
    source.write_text(f'"""A module."""\n\n\ndef f():\n{body}\n')
    assert [line.split(":")[0] for line in tidy.module_findings(source)] == ["4"]
