"""Budgets survive a restart; a damaged journal is said, not guessed at."""

from decimal import Decimal

import pytest

from penstock.meter.journal import SAVE_SECONDS, Journal
from penstock.meter.quotas import Claim, Quotas, Reservation
from penstock.meter.windows import DAY_SECONDS

NOON = 1_781_956_800.0
BUDGET = Claim("daily", "usd", Decimal(10), DAY_SECONDS, (("user", "mia"),), Decimal("2.5"))


@pytest.fixture
def spent() -> Quotas:
    quotas = Quotas()
    reservation = quotas.reserve(NOON, [BUDGET])
    assert isinstance(reservation, Reservation)
    quotas.settle(NOON, reservation, {"usd": Decimal("2.25")})
    return quotas


def test_a_budget_is_as_spent_after_a_restart(tmp_path, spent):
    Journal(tmp_path / "budgets.json").save(NOON, spent)
    fresh = Quotas()
    assert Journal(tmp_path / "budgets.json").load(NOON + 5, fresh) == 1
    assert fresh.remaining(NOON + 5, [BUDGET])[0].remaining == Decimal("7.75")


def test_a_budget_of_yesterday_is_not_carried_over(tmp_path, spent):
    Journal(tmp_path / "budgets.json").save(NOON, spent)
    assert Journal(tmp_path / "budgets.json").load(NOON + DAY_SECONDS, Quotas()) == 0


def test_it_saves_only_what_changed_and_not_too_often(tmp_path, spent):
    journal = Journal(tmp_path / "budgets.json")
    assert journal.due(NOON, spent)
    journal.save(NOON, spent)
    assert not journal.due(NOON + 60, spent)
    spent.settle(NOON + 61, spent.reserve(NOON + 61, [BUDGET]), {"usd": Decimal(1)})
    assert journal.due(NOON + 61, spent)
    journal.save(NOON + 61, spent)
    spent.settle(NOON + 62, spent.reserve(NOON + 62, [BUDGET]), {"usd": Decimal(1)})
    assert not journal.due(NOON + 62, spent)
    assert journal.due(NOON + 61 + SAVE_SECONDS, spent)


def test_no_file_is_a_first_start(tmp_path):
    assert Journal(tmp_path / "budgets.json").load(NOON, Quotas()) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"budgets": [{}]}',
        b'{"budgets": [{"rule":"r","unit":"usd","every_seconds":86400,"scope":{},"period":1,'
        b'"amount":"NaN"}]}',
        b'{"budgets": [{"rule":"r","unit":"usd","every_seconds":86400,"scope":{},"period":1,'
        b'"amount":"much"}]}',
    ],
)
def test_a_damaged_file_is_said(tmp_path, content):
    (tmp_path / "budgets.json").write_bytes(content)
    with pytest.raises(ValueError):
        Journal(tmp_path / "budgets.json").load(NOON, Quotas())


def test_the_file_is_readable_by_its_owner_only(tmp_path, spent):
    Journal(tmp_path / "budgets.json").save(NOON, spent)
    assert (tmp_path / "budgets.json").stat().st_mode & 0o777 == 0o600
