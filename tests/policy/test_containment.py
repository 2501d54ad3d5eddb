"""An order to contain stands above the configured policy, and fails closed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from penstock.policy.containment import (
    FOLDER,
    ORDER,
    Order,
    copy_name,
    give_order,
    new_id,
    prepare_profile,
    read_order,
)
from penstock.policy.language.problem import ConfigError, Problem
from penstock.policy.language.source import PolicySource
from penstock.policy.policy import Policy

OPEN = "version: 1\nname: open\nmode: observe\nrules: []\n"
PROFILE = "version: 1\nname: known-good\nrules:\n  - {id: only, allow: {hosts: [sso.example]}}\n"
NOW = 1_800_000_000.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def source_in(folder: Path, clock: Clock, text: str = OPEN) -> PolicySource:
    file = folder / "open.yaml"
    file.write_text(text)
    (folder / "state").mkdir(exist_ok=True)
    return PolicySource([file], state=folder / "state", clock=clock)


def contain(folder: Path, text: str = PROFILE, until: float | None = None) -> Order:
    file = folder / "profile.yaml"
    file.write_text(text)
    content, policy = prepare_profile(file)
    order = Order(
        id=new_id(),
        state="contained",
        time=NOW,
        by="Jo",
        user="jo",
        until=until,
        file=copy_name(content),
        hash=policy.hash,
    )
    give_order(folder / "state", order, content)
    return order


def release(folder: Path) -> None:
    give_order(folder / "state", Order(new_id(), "released", NOW, "Jo", "jo"))


def order_file(folder: Path) -> Path:
    return folder / "state" / FOLDER / ORDER


def test_contain_and_release(tmp_path: Path, clock: Clock) -> None:
    source = source_in(tmp_path, clock)
    assert source.contained is None and not source.poll() and not source.ordered()
    contain(tmp_path)
    assert (
        source.ordered()
        and source.poll()
        and not source.ordered()
        and source.policy.name == "known-good"
    )
    assert not source.poll(), "one order is one switch"
    release(tmp_path)
    assert source.ordered() and source.poll() and not source.ordered()
    assert source.policy.name == "open" and source.contained is None


def test_a_start_while_contained_is_contained(tmp_path: Path, clock: Clock) -> None:
    contain(tmp_path)
    source = source_in(tmp_path, clock)
    assert source.policy.name == "known-good" and source.configured.name == "open"


def test_the_profile_is_a_copy(tmp_path: Path, clock: Clock) -> None:
    """What happens to the file it was made from changes nothing."""
    contain(tmp_path)
    (tmp_path / "profile.yaml").write_text(OPEN)
    assert source_in(tmp_path, clock).policy.name == "known-good"
    (tmp_path / "profile.yaml").unlink()
    assert source_in(tmp_path, clock).policy.name == "known-good"


def test_it_ends_when_its_time_is_over(tmp_path: Path, clock: Clock) -> None:
    contain(tmp_path, until=NOW + 60)
    source = source_in(tmp_path, clock)
    clock.now = NOW + 59.9
    assert not source.ordered() and not source.poll() and source.contained is not None
    clock.now = NOW + 60
    assert source.ordered() and source.poll() and source.policy.name == "open"
    assert not source.ordered()
    assert source_in(tmp_path, clock).policy.name == "open", "also for who starts later"


def test_the_configured_policy_is_followed_meanwhile(tmp_path: Path, clock: Clock) -> None:
    """A changed policy file is taken up, and comes into force with the release."""
    source = source_in(tmp_path, clock)
    contain(tmp_path)
    assert source.poll()
    (tmp_path / "open.yaml").write_text(OPEN.replace("name: open", "name: changed"))
    assert not source.poll() and source.policy.name == "known-good"
    assert (source.configured.name, source.status().loads) == ("changed", 2)
    release(tmp_path)
    assert source.poll() and source.policy.name == "changed"


BROKEN = {
    "nothing": b"",
    "binary": b"\xff\xfe\x00",
    "cut": b'{"id": "x", "state": "contai',
    "a list": b"[]",
    "another's": b'{"hello": 1}',
    "no such state": json.dumps(
        {"id": "1", "state": "paused", "time": 1, "by": "", "user": ""}
    ).encode(),
    "a time nobody can name": b'{"id":"1","state":"contained","time":1,"by":"","user":"",'
    b'"until":1e300}',
    "no number": b'{"id":"1","state":"released","time":NaN,"by":"","user":""}',
    "a name that is none": b'{"id":1,"state":"released","time":1,"by":"","user":""}',
    "deep": b"[" * 10_000,
    "large": b'{"id":"' + b"x" * 100_000 + b'"}',
    "no profile": b'{"id":"1","state":"contained","time":1,"by":"","user":"",'
    b'"file":"../../../etc/passwd"}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_order_nobody_can_read_lets_nothing_out(tmp_path: Path, clock: Clock, name: str) -> None:
    """Whoever meant it meant to contain; the next good order counts."""
    source = source_in(tmp_path, clock)
    order_file(tmp_path).parent.mkdir()
    order_file(tmp_path).write_bytes(BROKEN[name])
    assert source.poll() and source.policy.name == "containment"
    assert source.containment is not None and source.containment.problem
    clock.now += 10 * 86_400
    assert not source.poll() and source.contained is not None, "no time ends it"
    assert source_in(tmp_path, clock).policy.name == "containment"
    release(tmp_path)
    assert source.poll() and source.policy.name == "open" and not source.containment.problem


def test_a_broken_order_over_a_good_one_keeps_the_good_one(tmp_path: Path, clock: Clock) -> None:
    contain(tmp_path, until=NOW + 60)
    source = source_in(tmp_path, clock)
    order_file(tmp_path).write_bytes(b"?")
    source.poll()
    clock.now += 3600
    source.poll()
    assert source.policy.name == "known-good"


def test_a_profile_that_was_changed_in_place_is_not_what_was_ordered(
    tmp_path: Path, clock: Clock
) -> None:
    order = contain(tmp_path)
    (order_file(tmp_path).parent / order.file).write_text(OPEN)
    assert source_in(tmp_path, clock).policy.name == "containment"


def test_a_removed_order_releases_and_a_removed_state_directory_does_not(
    tmp_path: Path, clock: Clock
) -> None:
    contain(tmp_path)
    source = source_in(tmp_path, clock)
    (tmp_path / "state").rename(tmp_path / "away")
    assert not source.poll() and source.contained is not None
    (tmp_path / "away").rename(tmp_path / "state")
    assert not source.poll()
    order_file(tmp_path).unlink()
    assert source.poll() and source.contained is None


def test_what_a_process_cannot_keep_of_a_profile_becomes_nothing_leaves(
    tmp_path: Path, clock: Clock
) -> None:
    contain(tmp_path)
    (tmp_path / "open.yaml").write_text(OPEN)

    def unsuited(policy: Policy) -> list[Problem]:
        return [Problem("p.yaml", 1, "", "not here")] if policy.name == "known-good" else []

    source = PolicySource([tmp_path / "open.yaml"], unsuited, tmp_path / "state", clock)
    assert source.policy.name == "containment"


BAD_PROFILES = {
    "watches only": (PROFILE + "mode: observe\n", "has to enforce"),
    "refuses nothing": ("version: 1\nrules: []\n", "has to refuse something"),
    "unknown key": (PROFILE + "mod: enforce\n", "did you mean 'mode'"),
    "broken": ("rules: [", "profile.yaml:"),
    "empty": ("", "the file is empty"),
}


@pytest.mark.parametrize("name", BAD_PROFILES)
def test_a_bad_profile_changes_nothing(tmp_path: Path, clock: Clock, name: str) -> None:
    text, said = BAD_PROFILES[name]
    source = source_in(tmp_path, clock)
    with pytest.raises(ConfigError, match=said):
        contain(tmp_path, text)
    assert not source.poll() and not (tmp_path / "state" / FOLDER).exists()


def test_a_profile_that_works_only_where_it_lies_changes_nothing(
    tmp_path: Path, clock: Clock
) -> None:
    """Its lock file is named relative to it, and the copy would not find it."""
    (tmp_path / "mcp.lock.yaml").write_text("version: 1\nservers: {}\n")
    text = PROFILE + "  - {id: pinned, tools: {pins: mcp.lock.yaml}}\n"
    source = source_in(tmp_path, clock)
    with pytest.raises(ConfigError, match="absolute paths"):
        contain(tmp_path, text)
    assert not source.poll()
    contain(tmp_path, text.replace("mcp.lock.yaml", str(tmp_path / "mcp.lock.yaml")))
    assert source.poll() and source.policy.name == "known-good"


def test_an_order_outlives_half_a_write(tmp_path: Path) -> None:
    """A draft that was left behind is not an order, and old profiles are not kept."""
    contain(tmp_path)
    first = read_order(tmp_path / "state")
    (order_file(tmp_path).parent / f".{ORDER}.1").write_bytes(b"{")
    assert read_order(tmp_path / "state") == first
    contain(tmp_path, PROFILE.replace("sso", "idp"))
    assert len(list(order_file(tmp_path).parent.glob("profile-*.yaml"))) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_orders_can_be_read_by_the_owner_of_the_state_directory(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 1337, 1337)
    contain(tmp_path)
    files = [order_file(tmp_path).parent, *order_file(tmp_path).parent.iterdir()]
    assert {file.stat().st_uid for file in files} == {1337}
    assert {file.stat().st_mode & 0o077 for file in files} == {0}


def test_an_order_is_read_once(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks go on for ever, five a second: one that finds nothing new reads nothing."""
    read: list[Path] = []
    monkeypatch.setattr(
        "penstock.policy.containment.read_order", lambda state: read.append(state) or known
    )
    source = source_in(tmp_path, clock)
    known = contain(tmp_path)
    read.clear()
    for _ in range(10):
        source.poll()
    assert len(read) == 1
