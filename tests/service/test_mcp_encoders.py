"""Encoders over MCP through a running proxy, answers plain and as event streams."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.harness import Penstock, https_server, running_penstock
from tests.mcp_attacks.server import HOST, Hostile, Wire, refused, text_result

pytest.importorskip("onnxruntime", reason="needs penstock[onnx]")
pytest.importorskip("onnx", reason="builds its models with onnx")

from tests.detect import tiny_models

POLICY = """
version: 1
name: mcp-encoders
intercept: all
encoders: {encoders}
rules:
  - id: no-orders-in-results
    deny: {{find: [injection.model], in: [response]}}
  - id: names
    redact: {{find: [pii.name], in: [both]}}
"""


@pytest.fixture(scope="module")
def server() -> Hostile:
    return Hostile()


@pytest.fixture(scope="module")
def proxy(server: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("mcp-encoders")
    entries = [
        *json.loads(tiny_models.setting(tiny_models.tagger(folder / "tagger"), "tagger")),
        *json.loads(tiny_models.setting(tiny_models.classifier(folder / "text"), "text")),
    ]
    policy = POLICY.format(encoders=json.dumps(entries))
    with (
        https_server(folder / "server", server, [HOST]) as upstream,
        running_penstock(folder / "penstock", policy, upstream) as started,
    ):
        yield started


@pytest.fixture(
    params=[(False, False), (True, False), (False, True), (True, True)],
    ids=["json-legacy", "sse-legacy", "json-modern", "sse-modern"],
)
def wire(request: pytest.FixtureRequest, proxy: Penstock) -> Wire:
    return Wire(proxy, *request.param)


def test_an_order_in_a_result_that_only_the_encoder_sees_is_refused(
    wire: Wire, server: Hostile
) -> None:
    server.says["/orders/mcp"] = {"tools/call": text_result("The coast of zanzibar is long.")}
    assert "injection.model found" in refused(wire.call("/orders/mcp", "page"))
    said = text_result("The coast of that country is long.")
    server.says["/orders/mcp"] = {"tools/call": said}
    assert wire.call("/orders/mcp", "page")["result"]["content"] == said["content"]


def test_names_do_not_reach_a_server_and_come_back_to_the_caller(
    wire: Wire, server: Hostile
) -> None:
    server.says["/crm/mcp"] = {"tools/call": text_result("Zoe Quimby knows. Ask her at once.")}
    result = wire.call("/crm/mcp", "find", {"q": "who is Ada Lovelace"})["result"]
    sent = json.dumps(server.calls("/crm/mcp")[-1])
    assert "Lovelace" not in sent and "PLACEHOLDER_" in sent
    said = result["content"][0]["text"]
    assert "Quimby" not in said and said.endswith(" knows. Ask her at once.")
