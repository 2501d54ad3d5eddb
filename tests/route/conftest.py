"""Fixtures of the routing tests."""

from __future__ import annotations

import pytest

from tests.proxy.raw import TestCa


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    """The CA of the scripted upstreams."""
    return TestCa(tmp_path_factory.mktemp("upstream-ca"))
