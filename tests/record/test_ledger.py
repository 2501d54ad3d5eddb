"""The ledger: every attempt a row, and the sum is what the provider's invoice should say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from penstock.destinations import identify
from penstock.exchange import Caller, Destination, Usage, Workload
from penstock.meter.prices import Prices
from penstock.record.ledger import Row, rows_of, sums, total
from penstock.record.line import content_of
from penstock.record.record import Record
from penstock.wire import read_request
from penstock.wire.inspect import read_recorded_answer, recorded_answer, recorded_request

OPENAI = Destination("api.openai.com", 443, provider="openai", category="llm_api", known=True)
NOON = 1_781_956_800.0
# Recordings whose ``expect`` leaves out what the answer says (num_tokens_… of Aleph Alpha).
UNREAD = {"wa980b0d7c278c5": (9, 1000)}


def record(**values: Any) -> Record:
    given: dict[str, Any] = {
        "id": "c0ffee", "time": NOON, "destination": OPENAI, "mode": "enforce",
        "policy_hash": "0", "operation": "chat", "model": "gpt-5-mini", "status": 200,
        "caller": Caller(workload=Workload(name="shop", labels={"team": "pay"}), user="mia"),
        **values,
    }  # fmt: skip
    return Record(**given)


def rows(*records: Record) -> list[Row]:
    return list(rows_of(json.loads(content_of(one)) for one in records))


def usage(given: int | None = 100, made: int | None = 20, estimated: bool = False) -> Usage:
    return Usage(input_total=given, output_total=made, estimated=estimated)


def test_a_row_has_its_labels_and_exact_money():
    (row,) = rows(record(usage=usage(), cost_usd=Decimal("0.000065"), price_source="genai-prices"))
    assert (row.billed, row.usd, row.input_tokens, row.output_tokens) == (
        "provider", Decimal("0.000065"), 100, 20,
    )  # fmt: skip
    labels = dict(row.labels)
    assert (labels["team"], labels["user"], labels["workload"], labels["day"]) == (
        "pay", "mia", "shop", "2026-06-20",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "billed"),
    [
        ({"usage": usage()}, "provider"),
        ({"usage": usage(estimated=True)}, "estimate"),
        ({"usage": usage(), "outcome": "cut"}, "provider"),
        ({"outcome": "refused", "status": 429}, "free"),
        ({"outcome": "refused", "usage": usage()}, "provider"),  # answered, and then withheld
        ({"status": 429}, "free"),
        ({"status": 500}, "free"),
        ({"status": 504}, "possibly"),
        ({"outcome": "aborted", "status": None}, "possibly"),
        ({"operation": "models"}, "free"),
        ({"operation": "image_generation"}, "possibly"),
        ({}, "possibly"),
    ],
)
def test_what_a_call_may_have_cost(values, billed):
    (row,) = rows(record(**values))
    assert row.billed == billed
    assert (row.usd is None) == (billed != "free")


def test_each_attempt_of_a_call_is_a_row():
    attempts = [
        {"target": "a", "provider": "openai", "outcome": "status_503", "billed": "no"},
        {"target": "b", "provider": "azure", "outcome": "timeout", "billed": "possibly"},
        {"target": "c", "provider": "openai", "outcome": "answered", "billed": "yes"},
    ]
    line = json.loads(content_of(record(usage=usage(), cost_usd=Decimal("0.1"))))
    found = list(rows_of([line | {"attempts": attempts}]))
    assert [(row.billed, row.labels["provider"]) for row in found] == [
        ("free", "openai"), ("possibly", "azure"), ("provider", "openai"),
    ]  # fmt: skip
    whole = total(found)
    assert (whole.calls, whole.usd, whole.possibly, whole.unpriced) == (3, Decimal("0.1"), 1, 1)


def test_unpriced_calls_are_kept_apart_and_are_not_nothing():
    found = rows(
        record(usage=usage(), cost_usd=Decimal("0.1")),
        record(usage=usage(7, 3), price_source="model_unknown", model="house-llm"),
    )
    whole = total(found)
    assert (whole.usd, whole.unpriced, whole.unpriced_tokens) == (Decimal("0.1"), 1, 10)
    assert whole.reasons == {"model_unknown": 1}


def test_sums_are_by_what_was_asked_and_dearest_first():
    cheap = record(usage=usage(), cost_usd=Decimal("0.1"), model="gpt-5-mini")
    dear = record(usage=usage(), cost_usd=Decimal("0.7"), model="gpt-5")
    found = sums(rows(cheap, dear, cheap), ["team", "model"])
    assert [(key, one.calls, one.usd) for key, one in found.items()] == [
        (("pay", "gpt-5"), 1, Decimal("0.7")),
        (("pay", "gpt-5-mini"), 2, Decimal("0.2")),
    ]


@pytest.mark.parametrize(
    "line",
    [{}, {"time": 5, "usage": {"input": "x"}}, {"cost_usd": "NaN"}, {"caller": None, "usage": None},
     {"cost_usd": "1e5x"}, {"usage": {"input": -5}}, {"attempts": [{}, {}]}],
)  # fmt: skip
def test_a_damaged_line_is_no_crash_and_no_money(line):
    assert total(rows_of([line])).usd == 0


def recorded(recordings: list[dict[str, Any]], prices: Prices) -> Iterator[tuple[dict, Record]]:
    """Each recording as the Record it would have made."""
    for line in recordings:
        if line["api"].startswith(("mcp.", "a2a.")):
            continue
        request = recorded_request(line["request"])
        destination = identify(request.host, request.port, request.path)
        exchange = read_request(request, destination)
        answer = recorded_answer(line["response"])
        read_recorded_answer(exchange, answer)
        said = exchange.answer
        made = Record(
            line["id"], NOON, Caller(), destination, "enforce", "0", api=exchange.api,
            operation=exchange.operation, model=exchange.model, status=answer.status,
            answer_model=said.model if said else None,
        )  # fmt: skip
        if said is not None:
            made.usage = said.usage
            if said.usage.input_total or said.usage.output_total:
                price = prices.price(
                    destination.provider, exchange.api, exchange.model, said.model, said.usage
                )
                made.cost_usd, made.price_source = price.usd, price.source
        yield line, made


def test_the_ledger_of_recorded_traffic_is_the_providers_usage_to_the_token(recordings):
    """Input and output of all recordings, and for each the provider's own totals."""
    given = made = compared = 0
    everything, money = [], Decimal(0)
    for line, one in recorded(recordings, Prices()):
        expect, found = line["expect"], rows(one)
        if not found:
            continue  # a call to no AI service, as far as anybody can tell
        row = found[0]
        wanted = (expect.get("input_tokens_total") or 0, expect.get("output_tokens_total") or 0)
        if line["id"] in UNREAD:
            wanted = UNREAD[line["id"]]
        assert (row.input_tokens, row.output_tokens) == wanted, line["id"]
        assert (row.billed == "provider") == any(wanted), line["id"]
        given, made = given + wanted[0], made + wanted[1]
        money += one.cost_usd or 0
        everything.append(row)
        compared += 1
    whole = total(everything)
    assert (whole.input_tokens, whole.output_tokens, whole.usd) == (given, made, money)
    assert compared > 150 and given > 10_000 and money > 0
