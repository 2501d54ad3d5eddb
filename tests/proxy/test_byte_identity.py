"""Untouched means byte-identical: recorded traffic through a running proxy, both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.demo.certificate import write_server_certificate
from tests.harness import Upstream, running_penstock
from tests.proxy import planting
from tests.proxy.replay import Client, Exchange, Recorded, differences, exchange_of

EVERYTHING = """
version: 1
name: everything
mode: {mode}
intercept: all
rules:
  - id: everything
    allow: {{hosts: ["*"]}}
"""

# Enforced, looks into every text of both directions, and finds nothing in these recordings.
FINDS_NOTHING = """
version: 1
name: finds-nothing
mode: enforce
intercept: all
rules:
  - id: no-keys
    redact: {find: [secret.private_key], in: [both], with: placeholder}
"""


def replayed(
    folder: Path,
    policy: str,
    exchanges: list[Exchange],
    *,
    narrows_coding: bool = False,
    arriving: dict[str, Exchange] | None = None,
) -> dict[str, list[str]]:
    """Differences by exchange id; empty when all is as it was, or as in ``arriving``."""
    hosts = sorted({exchange.host for exchange in exchanges})
    folder.mkdir(parents=True, exist_ok=True)
    ca, certificate, key = write_server_certificate(folder, hosts)
    upstream = Recorded(certificate, key)
    found: dict[str, list[str]] = {}
    where = Upstream(upstream.port, ca, hosts, certificate, key)
    with running_penstock(folder, policy, where) as proxy:
        client = Client(proxy)
        for exchange in exchanges:
            upstream.next, upstream.got = exchange, None
            try:
                answer = client.send(exchange)
            except (EOFError, OSError) as error:
                found[exchange.id] = [f"no answer: {error}"]
                continue
            if narrows_coding and upstream.got:
                put_back_coding(exchange, upstream.got.headers)
            wanted = arriving[exchange.id] if arriving else exchange
            if wrong := differences(wanted, upstream.got, answer):
                found[exchange.id] = wrong
        client.close()
    upstream.close()
    return found


def is_what_it_says(line: dict[str, Any]) -> bool:
    """False for a request that calls itself JSON and is none: refused where rules look inside."""
    request = line["request"]
    if "json" not in request["headers"].get("content-type", "") or not request.get("body"):
        return True
    try:
        json.loads(request["body"])
    except ValueError:
        return False
    return True


def put_back_coding(exchange: Exchange, headers: list[tuple[str, str]]) -> None:
    """The one header a call whose answer may be edited does not keep: accept-encoding."""
    sent = dict(exchange.request.headers)
    for at, (name, value) in enumerate(headers):
        if name == "accept-encoding" and value == "identity":
            headers[at] = (name, sent.get(name, value))


@pytest.mark.parametrize("mode", ["enforce", "shadow", "observe"])
def test_recorded_traffic_passes_unchanged(
    mode: str, recordings: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Under a policy that allows everything no byte of body or header moves."""
    exchanges = [exchange_of(line) for line in recordings]
    assert replayed(tmp_path, EVERYTHING.format(mode=mode), exchanges) == {}


def test_recorded_traffic_passes_a_policy_that_finds_nothing(
    recordings: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Reading every text, with edits possible in both directions, changes nothing."""
    exchanges = [
        exchange_of(line)
        for line in recordings
        if "content-encoding" not in line["response"]["headers"] and is_what_it_says(line)
    ]
    assert replayed(tmp_path, FINDS_NOTHING, exchanges, narrows_coding=True) == {}


@pytest.mark.parametrize(
    ("plant", "where", "least"),
    [
        (planting.planted_request, "request", 150),
        (planting.planted_answer, "response", 80),
        (planting.planted_stream, "response", 50),
    ],
    ids=["request", "answer", "stream"],
)
def test_one_changed_leaf_moves_no_other_byte(
    plant: Callable[[planting.Line], planting.Planted | None],
    where: str,
    least: int,
    recordings: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """A token planted in one text of each recording is masked; every other byte is as it was."""
    planted = [made for line in recordings if is_what_it_says(line) and (made := plant(line))]
    assert len(planted) >= least, len(planted)
    sent = [made[0] for made in planted]
    arriving = {made[1].id: made[1] for made in planted}
    found = replayed(
        tmp_path,
        planting.POLICY.format(where=where),
        sent,
        narrows_coding=where == "response",
        arriving=arriving,
    )
    assert found == {}
