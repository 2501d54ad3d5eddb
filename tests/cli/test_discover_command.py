"""`penstock discover`: the inventory as people and programs read it, and the first policy."""

from __future__ import annotations

import json
from decimal import Decimal
from html.parser import HTMLParser

import pytest
import yaml
from click.testing import CliRunner

from penstock.cli import main
from penstock.exchange import Caller, Destination, Finding, McpCall, Process, Usage
from penstock.policy.decision import Located
from penstock.policy.language.load import load
from penstock.record.inventory import Inventory
from penstock.record.record import Record

HOSTILE = "<script>alert(1)</script>\x1b[2J"


def call(host="api.openai.com", provider="openai", **changes) -> Record:
    values = {
        "id": "c",
        "time": 1_781_956_800.0,
        "caller": Caller(process=Process(1, "shop"), user="mia"),
        "destination": Destination(host, 443, provider, "llm_api", known=provider is not None),
        "mode": "observe",
        "policy_hash": "p",
        "api": "openai.chat_completions",
        "model": "gpt-4o",
        "usage": Usage(input_total=1000, output_total=100),
        "cost_usd": Decimal("0.0035"),
        "status": 200,
    }
    return Record(**values | changes)


@pytest.fixture
def state_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_STATE_DIR", str(tmp_path))
    found = Located(Finding("secret.jwt", 0, 9, 1.0, "jwt"), "user", (), "request", "none")
    kept = Inventory(tmp_path / "inventory.json")
    for _ in range(3):
        kept.record(call())
    kept.record(call("api.anthropic.com", "anthropic", model="claude-sonnet-4-5",
                     api="anthropic.messages", findings=[found]))  # fmt: skip
    kept.record(call("llm.internal", None, model=HOSTILE, cost_usd=None))
    mcp = McpCall(methods=["tools/list"], tools_listed=["search", "get_*", HOSTILE])
    kept.record(call("mcp.example", None, mcp=mcp, api="mcp.streamable_http", model=None,
                     usage=Usage(), cost_usd=None))  # fmt: skip
    kept.close()
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(main, ["discover", *arguments])


def test_the_table_sums_up(state_dir):
    ran = run("report")
    assert ran.exit_code == 0, ran.output
    assert "api.openai.com" in ran.output and "secret.jwt 1" in ran.output
    assert "4 destinations, 6 calls, 0.0140 USD, 1 calls unpriced" in ran.output


def test_a_hostile_name_cannot_drive_the_terminal(state_dir):
    assert "\x1b[2J" not in run("report").output


def test_json_has_every_entry(state_dir):
    entries = json.loads(run("report", "--format", "json").output)["entries"]
    assert {entry["host"] for entry in entries} == {
        "api.openai.com",
        "api.anthropic.com",
        "llm.internal",
        "mcp.example",
    }


class Tags(HTMLParser):
    """Collects the elements and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]


def test_the_page_is_self_contained_and_hostile_names_are_text(state_dir):
    target = state_dir / "ai.html"
    ran = run("report", "--format", "html", "--output", str(target))
    assert ran.exit_code == 0, ran.output
    page, text = Tags(), target.read_text()
    page.feed(text)
    assert "script" not in page.tags and page.addresses == []
    assert "&lt;script&gt;" in text and "url(" not in text
    assert page.tags.count("th") > 10 and 'lang="en"' in text


def test_an_empty_inventory_is_a_page_too(tmp_path):
    (tmp_path / "inventory.json").write_text('{"version": 1, "entries": []}')
    ran = run("report", "--state-dir", str(tmp_path), "--format", "html")
    assert ran.exit_code == 0 and "Nothing was seen yet" in ran.output


def test_without_an_inventory_it_says_what_to_do(tmp_path):
    ran = run("report", "--state-dir", str(tmp_path))
    assert ran.exit_code == 2 and "penstock run --mode observe" in ran.output


def test_the_starter_policy_allows_what_was_seen(state_dir):
    policy = yaml.safe_load(run("policy").output)
    rules = {rule["id"]: rule for rule in policy["rules"]}
    assert policy["mode"] == "shadow"
    assert rules["seen-openai"]["allow"] == {"providers": ["openai"], "models": ["gpt-4o"]}
    assert rules["seen-llm-internal"]["allow"] == {
        "hosts": ["llm.internal"],
        "apis": ["openai.chat_completions"],
    }
    assert rules["tools-mcp-example"]["tools"] == {
        "server": "https://mcp.example/*",
        "allow": ["search"],
    }


@pytest.mark.parametrize(
    "hosts", [[], ["a.b", "a-b", "a_b"], ["x" * 300], ["-", "*", "a: b", "openai"], ["1e3", "null"]]
)
def test_the_starter_policy_loads_whatever_was_seen(tmp_path, hosts):
    kept = Inventory(tmp_path / "inventory.json")
    for host in ["api.openai.com", *hosts]:
        provider = "openai" if host == "api.openai.com" else None
        for model in ("gpt-4o", "*", "yes", "0x10", "a#b", "k: v", "'", None):
            kept.record(call(host, provider, model=model))
        kept.record(call(host, provider, api="mcp.streamable_http", mcp=McpCall(tool="t: *")))
        kept.record(call(host, provider, api="mcp.streamable_http", mcp=McpCall(tool="null")))
    kept.close()
    target = tmp_path / "policy.yaml"
    assert run("policy", "--state-dir", str(tmp_path), "-o", str(target)).exit_code == 0
    assert load([target]).mode == "shadow"


def test_a_hostile_name_never_enters_the_policy(state_dir):
    assert "script" not in run("policy").output
