"""The second look in a running proxy: told afterwards, remembered, never in the way."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import World, ask, world
from tests.harness import PENSTOCK

# A password that only a plug-in for words beside values knows.
VALUE = "Hunter2xyzzy99"
LEAVES = f'if (the_secret === "{VALUE}") open();'
TOKEN = "ghp_" + "k7Rq2Vw9Xb4Nz6Tc8Hm3Lp5Jd1Fs0Ga2Ye4U"
POLICY = """
version: 1
name: second-look
second_look: %s
rules:
  - id: no-secrets
    redact: {find: [secret], in: [request], with: placeholder}
"""
SECONDS = 30.0


@pytest.fixture
def telling(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, POLICY % "tell") as made:
        yield made


@pytest.fixture
def remembering(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, POLICY % "remember") as made:
        yield made


def call(made: World, *texts: str) -> dict[str, Any]:
    """Send the texts as one conversation; the record."""
    before = made.recorded
    messages = [{"role": "user", "content": text} for text in texts]
    with made.tunnel() as client:
        ask(client, json.dumps({"model": "gpt-5-mini", "messages": messages}).encode())
        assert client.answer().status == 200
    return made.after(before)[0]


def late(made: World, count: int) -> list[dict[str, Any]]:
    """The lines of what was found too late; waits until there are ``count``."""
    deadline = time.monotonic() + SECONDS
    while True:
        lines = (made.proxy.state / "audit.jsonl").read_text().splitlines()
        found = [line for line in map(json.loads, lines) if line["type"] == "late"]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, "nothing was found"
        time.sleep(0.02)


def looked_at(made: World, count: int) -> None:
    """Wait until so many texts have been looked at."""
    deadline = time.monotonic() + SECONDS
    while made.metric("penstock_second_look_texts_total") < count:
        assert time.monotonic() < deadline, "it was not looked at"
        time.sleep(0.05)


def written(made: World) -> str:
    """Everything the proxy wrote and tells."""
    files = [path for path in made.proxy.state.iterdir() if path.is_file()]
    texts = [path.read_bytes().decode("utf-8", "replace") for path in [*files, made.proxy.log]]
    return "".join(texts) + made.proxy.metrics()


def test_what_left_is_told_afterwards_linked_to_its_call(telling: World) -> None:
    record = call(telling, "Good morning.", LEAVES)
    (line,) = late(telling, 1)
    assert line["id"] == record["id"]
    assert line["findings"] == [
        {
            "type": "secret.candidate",
            "zone": "user",
            "direction": "request",
            "action": "none",
            "count": 1,
            "detector": "detect-secrets:KeywordDetector",
            "begins": "Hun",
            "length": len(VALUE),
            "remembered": False,
        }
    ]
    assert VALUE.encode() in telling.upstream.requests[-1], "it had left"
    assert telling.metric("penstock_late_findings_total{") == 1
    assert VALUE not in written(telling)


def test_a_conversation_sent_again_is_looked_at_once(telling: World) -> None:
    call(telling, LEAVES, "one")
    late(telling, 1)
    looked_at(telling, 3)  # the model's name is a text that leaves, too
    call(telling, LEAVES, "one", "two")
    looked_at(telling, 4)
    call(telling, LEAVES, "one", "two", "three")
    looked_at(telling, 5)
    assert telling.metric("penstock_second_look_texts_total") == 5
    assert len(late(telling, 1)) == 1
    assert VALUE.encode() in telling.upstream.requests[-1], "told, not remembered"


def test_what_a_rule_took_out_did_not_leave_and_is_not_looked_at(telling: World) -> None:
    record = call(telling, f"the_secret === '{TOKEN}' and", f"password: {TOKEN}")
    assert record["verdict"] == "edit"
    call(telling, LEAVES)
    assert [one["findings"][0]["begins"] for one in late(telling, 1)] == ["Hun"]


def test_what_is_remembered_is_taken_out_the_next_time(remembering: World) -> None:
    """In a text that is known already, too."""
    call(remembering, LEAVES)
    assert late(remembering, 1)[0]["findings"][0]["remembered"] is True
    deadline = time.monotonic() + SECONDS
    sent = VALUE.encode()
    while VALUE.encode() in sent:
        assert time.monotonic() < deadline, "it is not known"
        time.sleep(0.2)
        call(remembering, LEAVES, f"Again: {VALUE}")
        sent = remembering.upstream.requests[-1]
    assert sent.count(b"PLACEHOLDER_") == 2
    record = call(remembering, f"And {VALUE}.")
    (finding,) = record["findings"]
    assert (finding["type"], finding["action"]) == ("secret.candidate", "redact")
    assert len(late(remembering, 1)) == 1, "what is known is found in time"
    assert VALUE not in written(remembering)


def test_what_waits_is_looked_at_before_the_end(telling: World) -> None:
    """The line is there, the log is whole, and no process is left behind."""
    record = call(telling, *[f"{number} {LEAVES}" for number in range(20)])
    children = Path(f"/proc/{telling.proxy.process.pid}/task").glob("*/children")
    looking = [pid for file in children for pid in file.read_text().split()]
    assert telling.proxy.stop() == 0
    lines = late(telling, 20)
    assert {line["id"] for line in lines} == {record["id"]}
    assert not any(Path(f"/proc/{pid}").exists() for pid in looking)
    log = telling.proxy.state / "audit.jsonl"
    audit = [*PENSTOCK, "audit"]
    proved = subprocess.run([*audit, "verify", str(log)], capture_output=True, text=True)
    assert proved.returncode == 0, proved.stdout
    shown = subprocess.run(
        [*audit, "show", "--finding", "secret.candidate", str(log)], capture_output=True, text=True
    )
    assert "found too late: Hun" in shown.stdout


def test_turned_on_and_off_by_a_changed_policy(telling: World) -> None:
    file = telling.proxy.state.parent / "policy.yaml"

    def change(word: str) -> None:
        before = telling.metric("penstock_config_reloads_total")
        file.write_text(POLICY % word)
        deadline = time.monotonic() + SECONDS
        while telling.metric("penstock_config_reloads_total") == before:
            assert time.monotonic() < deadline, "not reloaded"
            time.sleep(0.05)

    change("none")
    call(telling, LEAVES)
    change("tell")
    call(telling, f"once more {LEAVES}")
    (line,) = late(telling, 1)
    assert line["id"] == telling.proxy.records()[-1]["id"]


def test_the_policy_is_refused_where_the_plug_ins_are_missing(tmp_path: Path) -> None:
    """By ``check`` as by ``run``: a second look nobody takes is no second look."""
    (tmp_path / "p.yaml").write_text(POLICY % "tell")
    hidden = tmp_path / "hidden" / "sitecustomize.py"
    hidden.parent.mkdir()
    hidden.write_text(
        "import importlib.util as u\nf = u.find_spec\n"
        "u.find_spec = lambda n, p=None: None if n == 'detect_secrets' else f(n, p)\n"
    )
    for command in (["check"], ["doctor", "--policy"]):
        said = subprocess.run(
            [*PENSTOCK, *command, str(tmp_path / "p.yaml")],
            env={"PYTHONPATH": str(hidden.parent), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert said.returncode != 0
        assert "p.yaml:4: second_look: a second look needs detect-secrets" in said.stdout


def test_a_rule_that_only_a_second_look_could_serve_needs_one(tmp_path: Path) -> None:
    rule = "  - {id: late, deny: {find: [secret.candidate]}}\n"
    for word, code in (("tell", 1), ("remember", 0)):
        (tmp_path / "p.yaml").write_text(f"version: 1\nsecond_look: {word}\nrules:\n{rule}")
        said = subprocess.run(
            [*PENSTOCK, "check", str(tmp_path / "p.yaml")], capture_output=True, text=True
        )
        assert said.returncode == code, said.stdout
        assert ("second_look: remember only" in said.stdout) == bool(code)
