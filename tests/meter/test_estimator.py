"""The estimator learns from finished calls and never trusts a caller's numbers."""

import pytest

from penstock.meter.estimator import FIRST_OUTPUT, PAIRS_MAX, Estimator, output_cap


def test_before_anything_is_known_a_byte_is_a_quarter_token():
    estimate = Estimator().estimate("shop", "gpt-4o", 4000, None)
    assert (estimate.input_tokens, estimate.output_tokens) == (1000, FIRST_OUTPUT)


def test_it_comes_within_a_tenth_after_ten_calls():
    """Dense content (0.6 tokens a byte) is where fixed rules fail in the dangerous direction."""
    estimator = Estimator()
    for _ in range(10):
        estimator.learn("shop", "gpt-4o", 1000, 600, 80)
    estimate = estimator.estimate("shop", "gpt-4o", 2000, None)
    assert estimate.input_tokens == pytest.approx(1200, rel=0.1)
    assert estimate.output_tokens == pytest.approx(80, rel=0.25)


def test_the_calls_own_maximum_caps_the_expected_output():
    assert Estimator().estimate("shop", "gpt-4o", 100, 16).output_tokens == 16
    assert Estimator().estimate("shop", "gpt-4o", 100, 0).tokens == 25


def test_a_new_caller_starts_from_what_the_model_took_for_others():
    estimator = Estimator()
    for _ in range(20):
        estimator.learn("shop", "o3", 1000, 250, 4000)
    assert estimator.estimate("new", "o3", 1000, None).output_tokens > 3000


def test_callers_do_not_spoil_each_others_numbers():
    estimator = Estimator()
    for _ in range(20):
        estimator.learn("short", "gpt-4o", 1000, 250, 10)
        estimator.learn("long", "gpt-4o", 1000, 250, 4000)
    assert estimator.estimate("short", "gpt-4o", 1000, None).output_tokens < 50


def test_an_absurd_report_moves_the_ratio_only_to_its_bound():
    estimator = Estimator()
    estimator.learn("shop", "gpt-4o", 1, 10**12, 5)
    estimator.learn("shop", "gpt-4o", 0, 5, 5)
    estimator.learn("shop", "gpt-4o", 5, -5, 5)
    assert estimator.estimate("shop", "gpt-4o", 1000, None).input_tokens <= 1000


def test_the_table_is_bounded():
    estimator = Estimator()
    for number in range(PAIRS_MAX + 500):
        estimator.learn("shop", f"m{number}", 1000, 250, 10)
    assert len(estimator._learned) == PAIRS_MAX


@pytest.mark.parametrize(
    ("parameters", "cap"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 50, "max_tokens": 100}, 50),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": "100"}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": 2**63}, None),
        ({"max_tokens": 10, "n": "many"}, 10),
    ],
)
def test_the_cap_is_read_under_every_apis_name_and_nonsense_is_no_cap(parameters, cap):
    assert output_cap(parameters) == cap
