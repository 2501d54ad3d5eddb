"""The inventory: what is counted, what is kept over restarts, that it stays small."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from penstock.exchange import Caller, Destination, McpCall, Process, Usage, Workload
from penstock.record import inventory
from penstock.record.inventory import Inventory, app_of, inventory_files, read


def test_calls_of_one_kind_are_one_entry(tmp_path, record):
    kept = Inventory(tmp_path / "inventory.json")
    for moment in (100.0, 300.0, 200.0):
        kept.record(record(time=moment))
    kept.record(record(model="o3", cost_usd=None, outcome="refused", status=403))
    kept.close()
    first, second = read([tmp_path / "inventory.json"])
    assert (first.host, first.app, first.model) == ("api.openai.com", "prod/shop", "gpt-4o")
    assert (first.calls, first.input_tokens, first.cost_usd) == (3, 3600, Decimal("0.01416"))
    assert (first.first_seen, first.last_seen) == (100.0, 300.0)
    assert first.findings == {"pii.email": 3}
    assert (second.refused, second.unpriced) == (1, 1)


def test_it_goes_on_after_a_restart(tmp_path, record):
    for _ in range(2):
        kept = Inventory(tmp_path / "inventory.json")
        kept.record(record())
        kept.close()
    assert read(inventory_files(tmp_path))[0].calls == 2


def test_inventories_of_several_processes_are_read_as_one(tmp_path, record):
    for name in ("inventory.json", "inventory-2.json"):
        kept = Inventory(tmp_path / name)
        kept.record(record())
        kept.close()
    (entry,) = read(inventory_files(tmp_path))
    assert entry.calls == 2 and entry.cost_usd == Decimal("0.00944")


def test_tools_of_mcp_servers_are_listed(tmp_path, record):
    kept = Inventory(tmp_path / "inventory.json")
    server = Destination("mcp.example", 443, category="mcp")
    mcp = McpCall(methods=["tools/list"], tools_listed=["search", "fetch"])
    kept.record(record(mcp=mcp, destination=server, model=None, usage=Usage(), cost_usd=None))
    kept.close()
    entry = json.loads((tmp_path / "inventory.json").read_bytes())["entries"][0]
    assert entry["tools"] == ["fetch", "search"] and entry["model"] == "none"


def test_traffic_that_is_not_ai_is_not_listed(tmp_path, record):
    kept = Inventory(tmp_path / "inventory.json")
    kept.record(record(api=None, destination=Destination("example.org", 443)))
    kept.close()
    assert not (tmp_path / "inventory.json").exists()


def test_hostile_names_cannot_make_it_grow_without_bound(tmp_path, record, monkeypatch):
    monkeypatch.setattr(inventory, "ENTRIES_MAX", 50)
    kept = Inventory(tmp_path / "inventory.json")
    kept.record(record())
    for number in range(2000):
        kept.record(record(model=f"m{number}", tool_calls=[f"t{number}-{n}" for n in range(100)]))
    kept.close()
    entries = read([tmp_path / "inventory.json"])
    assert len(entries) <= 52
    assert sum(entry.calls for entry in entries) == 2001
    assert max(len(entry.tools) for entry in entries) <= inventory.NAMES_MAX


@pytest.mark.parametrize("content", [b"", b"[]", b'{"entries": [{"host": 1}]}', b'{"entries": 5}'])
def test_a_file_that_is_no_inventory_is_said_to_readers_and_put_aside(tmp_path, content, record):
    (tmp_path / "inventory.json").write_bytes(content)
    with pytest.raises(ValueError, match="is not an inventory"):
        read(inventory_files(tmp_path))
    kept = Inventory(tmp_path / "inventory.json")
    kept.record(record())
    kept.close()
    assert (tmp_path / "inventory.unreadable").read_bytes() == content
    assert read(inventory_files(tmp_path))[0].calls == 1


@pytest.mark.parametrize(
    ("caller", "app"),
    [
        (Caller(workload=Workload(name="shop", namespace="prod"), agent="a"), "prod/shop"),
        (Caller(agent="claude-code", process=Process(1, "node")), "claude-code"),
        (Caller(process=Process(1, "python3"), user_agent="OpenAI/Python"), "python3"),
        (Caller(user_agent="OpenAI/Python 3.52.0"), "OpenAI"),
        (Caller(), "none"),
    ],
)
def test_an_application_has_the_best_name_known(caller, app):
    assert app_of(caller) == app
