"""`penstock keys`: what was used where, and fingerprints that fit what the proxy sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.caller.credentials import credential_fingerprints
from penstock.caller.passwords import check
from penstock.cli import main
from penstock.exchange import Caller, Destination, Workload
from penstock.proxy.keys import load_or_create
from penstock.record.audit import AuditLog
from penstock.record.record import Outcome, Record

KEY = "sk-canary-key-that-is-never-printed"


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(main, ["keys", *arguments], input=given)


def called(number: int, key: str | None, provider: str, outcome: Outcome, status: int) -> Record:
    caller = Caller(workload=Workload(name="shop"), user=f"user{number % 2}", credential=key)
    destination = Destination(f"api.{provider}.com", 443, provider, "llm_api")
    moment = 1_781_956_800.0 + 3600 * number
    record = Record(f"c{number}", moment, caller, destination, "enforce", "p")
    record.outcome, record.status = outcome, status
    return record


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PENSTOCK_STATE_DIR", str(tmp_path))
    log = AuditLog(tmp_path)
    log.record(called(0, "aa" * 8, "openai", "answered", 200))
    log.record(called(1, "aa" * 8, "openai", "refused", 403))
    log.record(called(2, "aa" * 8, "anthropic", "answered", 401))
    log.record(called(3, "bb" * 8, "openai", "answered", 200))
    log.record(called(4, None, "openai", "answered", 200))
    log.close()
    return tmp_path


def test_each_key_is_listed_per_provider(state_dir: Path) -> None:
    """One key at two providers is two lines; calls without a key are none."""
    uses = json.loads(run("--format", "json").output)
    assert [(use["fingerprint"][:2], use["provider"]) for use in uses] == [
        ("bb", "openai"),
        ("aa", "anthropic"),
        ("aa", "openai"),
    ]
    assert (uses[1]["rejected"], uses[2]["refused"], uses[2]["calls"]) == (1, 1, 2)
    assert uses[2]["callers"] == ["user0 (shop)", "user1 (shop)"]
    assert uses[2]["first_seen"] < uses[2]["last_seen"]
    assert "aaaaaaaaaaaaaaaa" in run("--provider", "anthropic").output
    assert "bb" not in run("--provider", "anthropic").output


def test_a_fingerprint_is_the_one_the_proxy_sees(state_dir: Path) -> None:
    """What the command prints for a key is what a call with that key is recorded under."""
    ran = run("fingerprint", given=KEY + "\n")
    keys = load_or_create(state_dir)
    seen = credential_fingerprints({"authorization": f"Bearer {KEY}"}, "/", keys.fingerprint)
    assert ran.exit_code == 0 and (ran.output.strip(),) == seen
    assert KEY not in ran.output


def test_proxies_with_one_secret_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PENSTOCK_SECRET_FILE two installations give one fingerprint; without, two."""
    printed = set()
    for name in ("one", "two"):
        monkeypatch.setenv("PENSTOCK_STATE_DIR", str(tmp_path / name))
        printed.add(run("fingerprint", given=KEY).output)
    assert len(printed) == 2
    (tmp_path / "shared").write_bytes(b"s" * 32)
    monkeypatch.setenv("PENSTOCK_SECRET_FILE", str(tmp_path / "shared"))
    shared = set()
    for name in ("one", "two"):
        monkeypatch.setenv("PENSTOCK_STATE_DIR", str(tmp_path / name))
        shared.add(run("fingerprint", given=KEY).output)
    assert len(shared) == 1


@pytest.mark.parametrize("secret", [None, b"short"])
def test_a_shared_secret_that_is_none_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: bytes | None
) -> None:
    """A missing or foreign file is named; no secret is made in its place."""
    file = tmp_path / "shared"
    if secret is not None:
        file.write_bytes(secret)
    monkeypatch.setenv("PENSTOCK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PENSTOCK_SECRET_FILE", str(file))
    ran = run("fingerprint", given=KEY)
    assert ran.exit_code == 2 and str(file) in ran.output and file.exists() == bool(secret)


@pytest.mark.parametrize("given", ["", "  \n", "x" * 40_000])
def test_no_key_is_a_usage_error(state_dir: Path, given: str) -> None:
    """Nothing, and what cannot be a key, is said and not hashed."""
    assert run("fingerprint", given=given).exit_code == 2


def test_a_password_line_is_one_the_proxy_takes(tmp_path: Path) -> None:
    """What the command prints goes into the file as it is, and proves its caller."""
    ran = run("password", "--name", "ada", given="a long pass phrase\n")
    (tmp_path / "callers").write_text(ran.output)
    assert check(str(tmp_path / "callers"), "ada", "a long pass phrase").user == "ada"
    assert "phrase" not in ran.output and run("password", "--name", "a:b").exit_code == 2
