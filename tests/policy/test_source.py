"""The policy in force follows its files, and never becomes a broken one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.policy.language.problem import ConfigError
from penstock.policy.language.source import PolicySource

GOOD = "version: 1\nrules:\n  - {id: a, deny: {hosts: [x]}}\n"
OTHER = "version: 1\nrules:\n  - {id: b, deny: {hosts: [x]}}\n"


def ids(source: PolicySource) -> list[str]:
    return [rule.id for rule in source.policy.rules]


def test_changed_file_is_taken_up_once(tmp_path: Path) -> None:
    """A poll after a change swaps the policy; the next one has nothing to do."""
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    source = PolicySource([file])
    assert not source.poll()
    file.write_text(OTHER + "# longer\n")
    assert source.poll() and ids(source) == ["b"]
    assert not source.poll()
    assert (source.status().loads, source.status().refusals) == (2, 0)


def test_bad_change_keeps_the_policy_and_is_told(tmp_path: Path) -> None:
    """A broken file changes nothing, is counted, and names its problems until it is mended."""
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    source = PolicySource([file])
    before = source.policy
    file.write_text("version: 1\nrules: [broken\n")
    assert not source.poll() and source.policy is before
    assert source.status().refusals == 1 and source.status().problems
    file.unlink()
    assert not source.poll() and source.policy is before
    assert "cannot be read" in source.status().problems[0].message
    file.write_text(OTHER)
    assert source.poll() and source.status().problems == ()


def test_swapped_link_is_noticed(tmp_path: Path) -> None:
    """A ConfigMap changes by swapping a link: same size, same time, another file."""
    for name, content in (("one", GOOD), ("two", OTHER)):
        (tmp_path / name).write_text(content)
        os.utime(tmp_path / name, (1, 1))
    link = tmp_path / "p.yaml"
    link.symlink_to("one")
    source = PolicySource([link])
    link.unlink()
    link.symlink_to("two")
    assert source.poll() and ids(source) == ["b"]


def test_same_content_is_no_change(tmp_path: Path) -> None:
    """A touched file is not a new policy: caches and state stay."""
    file = tmp_path / "p.yaml"
    file.write_text(GOOD)
    source = PolicySource([file])
    before = source.policy
    os.utime(file, (1, 1))
    assert not source.poll() and source.policy is before


def test_start_with_a_broken_policy_is_refused(tmp_path: Path) -> None:
    """Nothing is served before the policy is right."""
    with pytest.raises(ConfigError, match="no such file"):
        PolicySource([tmp_path / "strct"])


def test_shipped_policies_go_by_name() -> None:
    """``--policy strict`` needs no path; no name at all is ``default``."""
    assert PolicySource(["strict"]).policy.name == "strict"
    assert PolicySource([]).policy.name == "default"
