"""The headers of a refusal: what makes an SDK stop, wait, or try again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.family import Refusal
from penstock.wire.refusals import json_refusal, refusal_headers


def _refusal(status: int = 403, wait: float | None = None, rule: str = "no-secrets") -> Refusal:
    return Refusal(status, "policy_denied", "Refused by rule.", rule, "01J", wait)


def test_a_policy_refusal_is_never_retried() -> None:
    assert refusal_headers(_refusal()) == {
        "penstock-decision": "deny; rule=no-secrets; id=01J",
        "x-should-retry": "false",
    }


@pytest.mark.parametrize(
    ("wait", "seconds", "milliseconds"),
    [
        (0.0, "1", "1"),
        (0.2, "1", "200"),
        (12.0, "12", "12000"),
        (59.3, "60", "59300"),
        (60.0, "60", "60000"),
        (-5.0, "1", "1"),
    ],
)
def test_a_short_wait_lets_the_sdk_retry(wait: float, seconds: str, milliseconds: str) -> None:
    headers = refusal_headers(_refusal(429, wait))
    assert headers["retry-after"] == seconds
    assert headers["retry-after-ms"] == milliseconds
    assert "x-should-retry" not in headers


@pytest.mark.parametrize(("wait", "seconds"), [(60.1, "61"), (3600.0, "3600")])
def test_a_long_wait_says_the_truth_and_forbids_sleeping_through_it(
    wait: float, seconds: str
) -> None:
    headers = refusal_headers(_refusal(429, wait))
    assert headers["retry-after"] == seconds
    assert headers["x-should-retry"] == "false"
    assert "retry-after-ms" not in headers


@pytest.mark.parametrize("wait", [None, float("nan")])
def test_a_limit_without_a_known_end_is_not_retried(wait: float | None) -> None:
    headers = refusal_headers(_refusal(429, wait))
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers


def test_an_endless_wait_stays_a_number() -> None:
    assert refusal_headers(_refusal(429, float("inf")))["retry-after"] == str(2**31 - 1)


@given(st.text(max_size=400))
def test_a_rule_id_cannot_start_another_header_or_parameter(rule: str) -> None:
    value = refusal_headers(_refusal(rule=rule))["penstock-decision"]
    assert value.isascii()
    assert value.isprintable()
    assert value.count(";") == 2
    assert len(value) < 200


def test_the_json_answer_carries_the_common_headers_and_its_own() -> None:
    answer = json_refusal(_refusal(), {"message": "no"}, {"x-amzn-errortype": "A"})
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-amzn-errortype"] == "A"
    assert answer.headers["x-should-retry"] == "false"
    assert json.loads(answer.body) == {"message": "no"}
