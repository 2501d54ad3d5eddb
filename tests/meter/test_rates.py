"""Bursts, calls at the same time, and calendars of other places than Greenwich."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from penstock.meter.quotas import PARALLEL, Claim, Exceeded, Quotas, Reservation
from penstock.meter.windows import (
    DAY_SECONDS,
    MONTH_SECONDS,
    WEEK_SECONDS,
    begins_at,
    leaves_at,
    slice_at,
    zone_of,
)

NOON = 1_781_956_800.0  # 2026-06-20 12:00:00 UTC


def burst(reserve=1, limit=60, every=60, size=10, unit="requests"):
    return Claim("b", unit, limit, every, (), reserve, burst=size)


def granted(answer) -> Reservation:
    assert isinstance(answer, Reservation), answer
    return answer


def refused(answer) -> Exceeded:
    assert isinstance(answer, Exceeded), answer
    return answer


def test_a_burst_is_let_through_at_once_and_no_more():
    quotas = Quotas()
    for _ in range(10):
        granted(quotas.reserve(NOON, [burst()]))
    answer = refused(quotas.reserve(NOON, [burst()]))
    assert answer.retry_after_seconds == pytest.approx(1.0, abs=1e-3)
    granted(quotas.reserve(NOON + 1.001, [burst()]))
    refused(quotas.reserve(NOON + 1.002, [burst()]))


def test_calls_that_still_run_do_not_stop_a_bucket_from_refilling():
    """A rate of beginnings: sixty a minute may begin, however long each runs."""
    quotas, count = Quotas(), 0
    for second in range(60):
        count += isinstance(quotas.reserve(NOON + second + 0.001, [burst()]), Reservation)
    assert count == 60


def test_a_bucket_keeps_debt_and_takes_back_what_was_not_used():
    quotas = Quotas()
    claim = burst(100, limit=600, size=200, unit="tokens")
    first = granted(quotas.reserve(NOON, [claim]))
    quotas.settle(NOON, first, {"tokens": 500})
    assert quotas.remaining(NOON, [claim])[0].remaining == -300
    second = granted(quotas.reserve(NOON + 41, [claim]))
    quotas.release(NOON + 41, second)
    assert quotas.remaining(NOON + 41, [claim])[0].remaining == pytest.approx(110, abs=1)


def test_what_drained_meanwhile_is_not_given_back_a_second_time():
    quotas = Quotas()
    claim = burst(100, limit=600, size=200, unit="tokens")
    one = granted(quotas.reserve(NOON, [claim]))
    quotas.settle(NOON + 3600, one, {"tokens": 0})
    assert quotas.remaining(NOON + 3600, [claim])[0].remaining == 200


def test_a_call_larger_than_the_burst_never_fits():
    assert not refused(Quotas().reserve(NOON, [burst(11)])).fits


def test_money_has_bursts_too():
    quotas = Quotas()
    claim = burst(Decimal("0.4"), limit=Decimal(6), size=Decimal(1), unit="usd")
    granted(quotas.reserve(NOON, [claim]))
    granted(quotas.reserve(NOON, [claim]))
    answer = refused(quotas.reserve(NOON, [claim]))
    assert answer.remaining == pytest.approx(Decimal("0.2"))
    assert answer.retry_after_seconds == pytest.approx(2.0, abs=1e-3)


def test_parallel_counts_calls_that_run_and_forgets_them_when_they_end():
    quotas = Quotas()
    claim = Claim("p", PARALLEL, 2, 0, (("user", "mia"),), 1)
    first, _ = (granted(quotas.reserve(NOON, [claim])) for _ in range(2))
    assert refused(quotas.reserve(NOON, [claim])).retry_after_seconds > 0
    quotas.settle(NOON, first, {"requests": 1})
    granted(quotas.reserve(NOON, [claim]))


def test_an_answer_longer_than_expected_is_held_while_it_grows():
    """Fifty long answers at once must not each see the room the others take."""
    quotas = Quotas()
    claim = Claim("t", "tokens", 100, 60, (), 40)
    one, two = (granted(quotas.reserve(NOON, [claim])) for _ in range(2))
    assert quotas.grow(NOON, one, {"tokens": 30}) == []
    assert quotas.grow(NOON, one, {"tokens": 60}) == []
    assert quotas.grow(NOON, two, {"tokens": 41}) == [claim]
    quotas.settle(NOON, two, {"tokens": 41})
    quotas.release(NOON, one)
    assert quotas.remaining(NOON, [claim])[0].remaining == 59
    assert quotas.grow(NOON, one, {"tokens": 500}) == []


def test_a_forced_reservation_is_debt():
    quotas = Quotas()
    claim = Claim("t", "tokens", 100, 60, (), 90)
    granted(quotas.reserve(NOON, [claim]))
    granted(quotas.reserve(NOON, [claim], force=True))
    assert quotas.remaining(NOON, [claim])[0].remaining == -80


def at(zone, *when):
    return datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_a_day_begins_at_the_midnight_of_its_zone(zone):
    midnight = at(zone, 2026, 6, 20)
    assert slice_at(DAY_SECONDS, midnight, zone) == slice_at(DAY_SECONDS, midnight - 1, zone) + 1
    piece = slice_at(DAY_SECONDS, midnight, zone)
    assert begins_at(DAY_SECONDS, piece, zone) == midnight
    assert leaves_at(DAY_SECONDS, piece, zone) == at(zone, 2026, 6, 21)


def test_days_of_23_and_25_hours_are_one_day():
    zone = "Europe/Berlin"
    for month, day, hours in ((3, 29, 23), (10, 25, 25)):
        piece = slice_at(DAY_SECONDS, at(zone, 2026, month, day, 12), zone)
        length = leaves_at(DAY_SECONDS, piece, zone) - begins_at(DAY_SECONDS, piece, zone)
        assert length == hours * 3600


def test_a_midnight_that_a_zone_skips_is_the_moment_of_the_skip():
    """In Beirut the clock went from 24:00 to 01:00 on 2021-03-28."""
    zone = "Asia/Beirut"
    piece = slice_at(DAY_SECONDS, at(zone, 2021, 3, 28, 12), zone)
    begin = begins_at(DAY_SECONDS, piece, zone)
    assert slice_at(DAY_SECONDS, begin, zone) == piece
    assert slice_at(DAY_SECONDS, begin - 1, zone) == piece - 1


@pytest.mark.parametrize("every", [DAY_SECONDS, 2 * DAY_SECONDS, WEEK_SECONDS, MONTH_SECONDS])
def test_every_moment_of_ten_years_lies_in_its_own_piece(every):
    for step in range(400):
        now = NOON + step * 789_012.3
        piece = slice_at(every, now, "America/Sao_Paulo")
        assert begins_at(every, piece, "America/Sao_Paulo") <= now
        assert now < leaves_at(every, piece, "America/Sao_Paulo")


def test_a_week_begins_on_monday():
    piece = slice_at(WEEK_SECONDS, at("Europe/Berlin", 2026, 6, 21, 23), "Europe/Berlin")
    assert leaves_at(WEEK_SECONDS, piece, "Europe/Berlin") == at("Europe/Berlin", 2026, 6, 22)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "", "UTC\0"])
def test_an_unknown_zone_is_said(name):
    with pytest.raises(ValueError, match="no time zone"):
        zone_of(name)
