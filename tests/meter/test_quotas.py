"""Limits: all or none, real waiting times, debt, expiry, bounded scopes."""

from decimal import Decimal

import pytest

from penstock.meter.quotas import (
    NEVER_FITS_SECONDS,
    RESERVATION_SECONDS,
    Claim,
    Exceeded,
    Quotas,
    Reservation,
)
from penstock.meter.windows import DAY_SECONDS, MONTH_SECONDS, SLICES

NOON = 1_781_956_800.0  # 2026-06-20 12:00:00 UTC
APP = (("workload", "shop"),)


def claim(reserve=10, limit=100, every=60, rule="r", unit="tokens", scope=APP):
    return Claim(rule, unit, limit, every, scope, reserve)


def granted(answer) -> Reservation:
    assert isinstance(answer, Reservation), answer
    return answer


def refused(answer) -> Exceeded:
    assert isinstance(answer, Exceeded), answer
    return answer


def test_what_is_reserved_counts_at_once():
    """Callers in parallel must not all see the same room."""
    quotas = Quotas()
    for _ in range(10):
        granted(quotas.reserve(NOON, [claim()]))
    assert refused(quotas.reserve(NOON, [claim()])).remaining == 0


def test_settling_replaces_the_reservation_by_the_actual_amount():
    quotas = Quotas()
    reservation = granted(quotas.reserve(NOON, [claim(90)]))
    assert quotas.settle(NOON + 1, reservation, {"tokens": 30})
    assert quotas.remaining(NOON + 1, [claim()])[0].remaining == 70


def test_a_second_settlement_of_the_same_call_changes_nothing():
    quotas = Quotas()
    reservation = granted(quotas.reserve(NOON, [claim(10)]))
    assert quotas.settle(NOON, reservation, {"tokens": 30})
    assert not quotas.settle(NOON, reservation, {"tokens": 30})
    assert not quotas.release(NOON, reservation)
    assert quotas.remaining(NOON, [claim()])[0].remaining == 70


def test_debt_is_kept_and_not_floored_at_zero():
    quotas = Quotas()
    reservation = granted(quotas.reserve(NOON, [claim(10)]))
    quotas.settle(NOON, reservation, {"tokens": 250})
    assert refused(quotas.reserve(NOON, [claim(1)])).remaining == -150


def test_all_limits_are_granted_together_or_none_is_touched():
    quotas = Quotas()
    tight = claim(5, limit=4, rule="tight")
    answer = refused(quotas.reserve(NOON, [claim(10), tight]))
    assert answer.rule == "tight"
    assert quotas.remaining(NOON, [claim()])[0].remaining == 100
    assert quotas.open_reservations == 0


def test_two_claims_of_one_call_in_the_same_window_are_added():
    quotas = Quotas()
    refused(quotas.reserve(NOON, [claim(60), claim(60)]))
    granted(quotas.reserve(NOON, [claim(50), claim(50)]))


def test_of_several_refusals_the_longest_wait_is_told():
    quotas = Quotas()
    day = claim(10, limit=10, every=DAY_SECONDS, rule="day")
    minute = claim(10, limit=10, every=60, rule="minute")
    quotas.settle(NOON, granted(quotas.reserve(NOON, [day, minute])), {"tokens": 10})
    answer = refused(quotas.reserve(NOON + 1, [minute, day]))
    assert (answer.rule, answer.retry_after_seconds) == ("day", DAY_SECONDS / 2 - 1)


def test_the_waiting_time_is_exactly_when_a_retry_succeeds():
    quotas = Quotas()
    for second, tokens in ((0, 40), (20, 40), (40, 20)):
        moment = NOON + second
        reservation = granted(quotas.reserve(moment, [claim(tokens)]))
        quotas.settle(moment, reservation, {"tokens": tokens})
    wait = refused(quotas.reserve(NOON + 41, [claim(60)])).retry_after_seconds
    assert 20 <= wait - 19 <= 20 + 60 / SLICES  # the piece of second 20 has to leave
    assert isinstance(quotas.reserve(NOON + 41 + wait - 0.01, [claim(60)]), Exceeded)
    granted(quotas.reserve(NOON + 41 + wait, [claim(60)]))


def test_calls_in_flight_alone_are_waited_for_as_long_as_calls_take():
    quotas = Quotas()
    for _ in range(100):
        quotas.release(NOON + 20, granted(quotas.reserve(NOON, [claim(1)])))
    granted(quotas.reserve(NOON, [claim(100)]))
    wait = refused(quotas.reserve(NOON, [claim(10)])).retry_after_seconds
    assert wait == pytest.approx(20, abs=0.1)


def test_a_call_larger_than_its_limit_is_told_that_waiting_does_not_help():
    answer = refused(Quotas().reserve(NOON, [claim(101)]))
    assert not answer.fits
    assert answer.retry_after_seconds == NEVER_FITS_SECONDS > 60


def test_a_day_budget_is_as_new_at_midnight_utc():
    quotas = Quotas()
    budget = claim(Decimal("9.5"), limit=Decimal(10), every=DAY_SECONDS, unit="usd")
    quotas.settle(NOON, granted(quotas.reserve(NOON, [budget])), {"usd": Decimal("9.5")})
    assert refused(quotas.reserve(NOON + DAY_SECONDS / 2 - 1, [budget])).retry_after_seconds == 1
    granted(quotas.reserve(NOON + DAY_SECONDS / 2, [budget]))


def test_a_month_budget_runs_to_the_first_of_the_next_month():
    quotas = Quotas()
    budget = claim(10, limit=10, every=MONTH_SECONDS)
    quotas.settle(NOON, granted(quotas.reserve(NOON, [budget])), {"tokens": 10})
    wait = refused(quotas.reserve(NOON, [budget])).retry_after_seconds
    assert wait == 10.5 * DAY_SECONDS  # from 20 June noon to 1 July


def test_an_unknown_amount_is_charged_as_reserved():
    """An unpriced call under a money limit must not be free."""
    quotas = Quotas()
    money = claim(Decimal(3), limit=Decimal(10), unit="usd", every=DAY_SECONDS)
    quotas.settle(NOON, granted(quotas.reserve(NOON, [money])), {"tokens": 5})
    assert quotas.remaining(NOON, [money])[0].remaining == 7


def test_a_vanished_call_gives_its_room_back():
    quotas = Quotas()
    granted(quotas.reserve(NOON, [claim(100)]))
    refused(quotas.reserve(NOON + RESERVATION_SECONDS - 1, [claim(1)]))
    granted(quotas.reserve(NOON + RESERVATION_SECONDS, [claim(100)]))


def test_a_call_that_outlives_its_reservation_is_still_counted_once():
    quotas = Quotas()
    reservation = granted(quotas.reserve(NOON, [claim(50)]))
    late = NOON + RESERVATION_SECONDS + 5
    assert quotas.expire(late) == 1
    assert quotas.settle(late, reservation, {"tokens": 70})
    assert not quotas.settle(late, reservation, {"tokens": 70})
    assert quotas.remaining(late, [claim()])[0].remaining == 30


def test_releasing_an_expired_reservation_closes_it():
    quotas = Quotas()
    reservation = granted(quotas.reserve(NOON, [claim(50)]))
    quotas.expire(NOON + RESERVATION_SECONDS)
    assert quotas.release(NOON, reservation)
    assert not quotas.settle(NOON, reservation, {"tokens": 70})


def test_scopes_are_separate():
    quotas = Quotas()
    granted(quotas.reserve(NOON, [claim(100)]))
    granted(quotas.reserve(NOON, [claim(100, scope=(("workload", "other"),))]))


def test_a_changed_limit_keeps_what_was_spent():
    """A policy reload must not be a way to start anew."""
    quotas = Quotas()
    quotas.settle(NOON, granted(quotas.reserve(NOON, [claim(80)])), {"tokens": 80})
    assert quotas.remaining(NOON, [claim(limit=90)])[0].remaining == 10


def test_ten_thousand_scopes_stay_bounded_and_calls_in_flight_are_not_forgotten():
    quotas = Quotas(scopes_max=100)
    granted(quotas.reserve(NOON, [claim(100)]))
    for number in range(10_000):
        one = claim(1, scope=(("user", f"u{number}"),))
        quotas.settle(NOON, granted(quotas.reserve(NOON, [one])), {"tokens": 1})
    refused(quotas.reserve(NOON, [claim(1)]))
    assert quotas.evicted > 9_000
    assert sum(len(scopes) for scopes in quotas._windows.values()) <= 100


def test_flooding_one_rule_does_not_push_out_the_scopes_of_another():
    quotas = Quotas(scopes_max=10)
    spent = claim(100, rule="budget")
    quotas.settle(NOON, granted(quotas.reserve(NOON, [spent])), {"tokens": 100})
    for number in range(100):
        one = claim(1, rule="flooded", scope=(("model", f"m{number}"),))
        quotas.release(NOON, granted(quotas.reserve(NOON, [one])))
    refused(quotas.reserve(NOON, [claim(1, rule="budget")]))


def test_a_scope_value_of_a_megabyte_is_cut():
    quotas = Quotas()
    granted(quotas.reserve(NOON, [claim(1, scope=(("user", "x" * 1_000_000),))]))
    kept = next(iter(quotas._windows[("r", "tokens", 60, "UTC")]))
    assert len(kept[0][1]) == 200


def test_a_clock_that_steps_back_frees_nothing_and_breaks_nothing():
    quotas = Quotas()
    quotas.settle(NOON, granted(quotas.reserve(NOON, [claim(100)])), {"tokens": 100})
    refused(quotas.reserve(NOON - 300, [claim(1)]))


def test_remaining_puts_the_tightest_limit_first():
    quotas = Quotas()
    wide, tight = claim(10, limit=1000, rule="wide"), claim(10, limit=20, rule="tight")
    granted(quotas.reserve(NOON, [wide, tight]))
    standing = quotas.remaining(NOON, [wide, tight])
    assert [(one.rule, one.remaining) for one in standing] == [("tight", 10), ("wide", 990)]
    assert 0 < standing[0].reset_seconds <= 60 * (1 + 1 / SLICES)


def test_budgets_outlive_the_process_and_rates_do_not():
    first, second = Quotas(), Quotas()
    day = claim(30, every=DAY_SECONDS, rule="day")
    first.settle(NOON, granted(first.reserve(NOON, [day, claim(30)])), {"tokens": 30})
    assert second.restore(NOON + 60, first.budgets(NOON)) == 1
    assert [one.remaining for one in second.remaining(NOON + 60, [day, claim()])] == [70, 100]
    assert Quotas().restore(NOON + DAY_SECONDS, first.budgets(NOON)) == 0
