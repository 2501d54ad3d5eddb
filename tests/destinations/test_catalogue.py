"""The catalogue: data in good order, look-up exact, fast and not to be fooled."""

from __future__ import annotations

import json
import time
from importlib import resources
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest

from penstock.destinations import by_shape, catalogue, identify, is_ai
from penstock.destinations.patterns import canonical_host
from penstock.exchange import Category, Destination


@pytest.mark.parametrize(
    ("host", "provider", "category"),
    [
        ("api.openai.com", "openai", "llm_api"),
        ("API.OpenAI.com.", "openai", "llm_api"),
        ("api.anthropic.com", "anthropic", "llm_api"),
        ("generativelanguage.googleapis.com", "gemini", "llm_api"),
        ("aiplatform.googleapis.com", "vertex", "llm_api"),
        ("us-central1-aiplatform.googleapis.com", "vertex", "llm_api"),
        ("aiplatform.eu.rep.googleapis.com", "vertex", "llm_api"),
        ("team-one.openai.azure.com", "azure", "llm_api"),
        ("team-one.services.ai.azure.com", "azure", "llm_api"),
        ("team-one.cognitiveservices.azure.com", "azure", "llm_api"),
        ("gov.openai.azure.us", "azure", "llm_api"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "bedrock", "llm_api"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "bedrock", "llm_api"),
        ("vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", "bedrock", "llm_api"),
        ("bedrock-agent-runtime.ap-south-1.amazonaws.com", "bedrock_agent", "llm_api"),
        ("bedrock-mantle.us-east-1.api.aws", "bedrock_mantle", "llm_api"),
        ("runtime.sagemaker.us-east-1.amazonaws.com", "sagemaker", "llm_api"),
        ("api.mistral.ai", "mistral", "llm_api"),
        ("api.groq.com", "groq", "llm_api"),
        ("api.x.ai", "xai", "llm_api"),
        ("openrouter.ai", "openrouter", "gateway"),
        ("chatgpt.com", "openai", "chat_app"),
        ("claude.ai", "anthropic", "chat_app"),
        ("mcp.deepwiki.com", "deepwiki", "mcp"),
    ],
)
def test_well_known_services_are_known(host: str, provider: str, category: str) -> None:
    """The providers that policies name are found under the names policies use."""
    found = identify(host, 443)
    assert (found.provider, found.category, found.known) == (provider, category, True)
    assert is_ai(host, 443)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "notapi.openai.com.evil.test",
        "evilopenai.com",
        "api.openai.com.evil.test",
        "s3.us-east-1.amazonaws.com",
        "bedrock-runtime.us-east-1.amazonaws.com.evil.test",
        "bedrock-runtime.amazonaws.com",
        "storage.googleapis.com",
        "evil-aiplatform.googleapis.com.test",
        "-aiplatform.googleapis.com",
        "10.0.0.7",
        "::1",
        "",
        ".",
    ],
)
def test_other_hosts_are_not_ai(host: str) -> None:
    """Look-alikes, general cloud hosts and addresses are none of ours."""
    assert not identify(host, 443).known
    assert not is_ai(host, 443)


def test_a_broad_host_is_reported_but_not_intercepted() -> None:
    """A host that also serves much else is known as broad, and left alone at the ClientHello."""
    found = identify("bing.com", 443)
    assert found.known and found.broad
    assert not is_ai("bing.com", 443)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/api/v2/cortex/v1/chat/completions", True),
        ("/api/v2/cortex/", True),
        ("/api/v2/statements", False),
        ("/api/v2/cortexes", False),
        ("/", False),
    ],
)
def test_a_broad_host_with_a_path_needs_the_path(path: str, known: bool) -> None:
    """The data warehouse is AI only under its inference path."""
    assert identify("acme-eu.snowflakecomputing.com", 443, path).known is known


def test_a_path_prefix_ends_at_a_segment() -> None:
    """``/mcp`` covers ``/mcp`` and ``/mcp/x``, not ``/mcpanything``."""
    assert identify("bigquery.googleapis.com", 443, "/mcp?x=1").known
    assert identify("bigquery.googleapis.com", 443, "/mcp/tools").known
    assert not identify("bigquery.googleapis.com", 443, "/mcpanything").known


def test_the_longest_name_wins() -> None:
    """An API host under a provider's general name keeps its own category."""
    assert identify("api.x.ai", 443).category == "llm_api"
    assert identify("x.ai", 443).broad
    assert identify("api.githubcopilot.com", 443).category == "llm_api"
    assert identify("other.githubcopilot.com", 443).category == "coding_assistant"


def test_every_row_is_in_good_order() -> None:
    """Hosts are canonical, unique and sorted; categories and sources exist; names are plain."""
    text = resources.files("penstock.destinations").joinpath("hosts.json").read_text("utf-8")
    data = json.loads(text)
    hosts = [row[0] for row in data["hosts"]]
    assert len(hosts) == len(set(hosts)) > 700
    assert hosts == sorted(hosts, key=lambda host: host.split(".")[::-1])
    for row in data["hosts"] + data["patterns"]:
        host, provider, category, source = row[:4]
        assert "*" in host or canonical_host(host) == host
        assert "." in host
        assert provider == provider.lower() and provider.isascii() and " " not in provider
        assert category in get_args(Category)
        assert data["sources"][source]
        assert len(row) == 4 or row[4].startswith("/")


def test_the_notice_names_every_project_the_data_comes_from() -> None:
    """Whoever collected the facts is named beside them."""
    notice = resources.files("penstock.destinations").joinpath("NOTICE").read_text("utf-8")
    projects = [source for source in catalogue.load().sources if "/" in source]
    assert projects and all(project in notice for project in projects)


def test_an_unknown_host_is_told_by_the_shape_of_its_calls() -> None:
    """Speaking a known wire format makes a host an AI service, never a certain provider."""
    unknown = identify("llm.internal", 8000)
    found = by_shape(unknown, "openai.chat_completions")
    assert (found.category, found.provider, found.known) == ("unknown_ai", None, False)
    assert by_shape(unknown, "mcp.streamable_http").category == "mcp"
    assert by_shape(unknown, "unknown.json") == unknown
    assert found.source == "shape: openai.chat_completions"


def test_a_known_host_keeps_its_name_but_may_turn_out_to_be_an_mcp_server() -> None:
    """A coding assistant's API host serves MCP under one path: those calls are MCP."""
    known = identify("api.githubcopilot.com", 443)
    assert by_shape(known, "openai.chat_completions") == known
    served = by_shape(known, "mcp.streamable_http")
    assert (served.category, served.provider) == ("mcp", "github_copilot")


def test_looking_up_costs_microseconds() -> None:
    """The ClientHello decision is on the path of every connection: 20 µs is a generous bound."""
    identify("api.openai.com", 443)
    rounds = 2_000
    start = time.perf_counter()
    for _ in range(rounds):
        identify("api.openai.com", 443, "/v1/chat/completions")
    assert (time.perf_counter() - start) / rounds < 20e-6


def test_invented_names_do_not_grow_memory() -> None:
    """A client that asks for ever new names fills a bounded memory only."""
    for number in range(10_000):
        identify(f"host-{number}.example", 443)
    assert catalogue._services.cache_info().currsize <= 4096
    assert catalogue._destination.cache_info().currsize <= 4096


def test_recorded_hosts_have_the_recorded_provider(recordings: list[dict[str, Any]]) -> None:
    """Every public host in the recordings is identified as the provider recorded with it."""
    wrong = []
    for line in recordings:
        url = urlsplit(line["request"]["url"])
        host = url.hostname or ""
        if "." not in host or host[0].isdigit():
            continue
        found = identify(host, 443, url.path)
        if found.provider != line["provider"] and line["provider"] != "mcp":
            wrong.append((host, line["provider"], found.provider))
    assert not set(wrong)


def test_a_destination_is_a_value() -> None:
    """Two look-ups of one host are equal and may be compared in a Record."""
    assert identify("api.openai.com", 443) == identify("API.openai.com.", 443)
    assert isinstance(identify("x.test", 1), Destination)
