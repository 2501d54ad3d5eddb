"""The limits against a simple model, over random histories of calls.

Whatever order calls reserve, settle, vanish and expire in: settled amounts add up to the
actual ones, open reservations add up to what is held, nothing is lost or counted twice,
and what the limit let through never exceeds it by more than the calls' own estimate errors.
"""

from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.meter.quotas import (
    PARALLEL,
    RESERVATION_SECONDS,
    Claim,
    Exceeded,
    Quotas,
    Reservation,
)
from penstock.meter.windows import DAY_SECONDS, is_calendar

LIMITS = {
    ("rate", "tokens"): (100, 60),
    ("hour", "tokens"): (400, 3600),
    ("money", "usd"): (Decimal(30), DAY_SECONDS),
}
USERS = ("mia", "noa")
AT_ONCE = 6  # calls of one user at the same time
BURST, BURST_LIMIT, BURST_SECONDS = 150, 300, 60  # tokens


class Limits(RuleBasedStateMachine):
    """Quotas beside a list of everything that happened."""

    def __init__(self) -> None:
        super().__init__()
        self.quotas = Quotas()
        self.now = 1_781_956_800.0
        self.open: dict[int, tuple[Reservation, str]] = {}
        self.vanished: dict[int, tuple[Reservation, str]] = {}
        self.settled: list[tuple[float, str, tuple[str, str], int | Decimal]] = []
        self.poured: list[tuple[float, str, int]] = []  # what the bucket is sure to have taken
        self.returned: dict[str, int] = {}  # given back to the bucket by settlements
        self.errors: dict[tuple[str, tuple[str, str]], int | Decimal] = {}

    @rule(user=st.sampled_from(USERS), tokens=st.integers(0, 120), cents=st.integers(0, 4000))
    def reserve(self, user, tokens, cents):
        amounts = {"tokens": tokens, "usd": Decimal(cents) / 100}
        claims = [
            Claim(name, unit, limit, every, (("user", user),), amounts[unit])
            for (name, unit), (limit, every) in LIMITS.items()
        ]
        amounts[PARALLEL] = 1
        claims.append(Claim("at-once", PARALLEL, AT_ONCE, 0, (("user", user),), 1))
        claims.append(
            Claim("burst", "tokens", BURST_LIMIT, BURST_SECONDS, (("user", user),), tokens,
                  burst=BURST)
        )  # fmt: skip
        before = self.quotas.remaining(self.now, claims)
        answer = self.quotas.reserve(self.now, claims)
        self._expire()
        if isinstance(answer, Reservation):
            assert all(one.remaining >= amounts[one.unit] for one in before)
            self.open[answer.id] = (answer, user)
            self.poured.append((self.now, user, tokens))
        else:
            assert any(one.remaining < amounts[one.unit] for one in before)
            assert answer.retry_after_seconds > 0
            assert self.quotas.remaining(self.now, claims) == before

    @precondition(lambda self: self.open)
    @rule(data=st.data(), tokens=st.integers(0, 200), cents=st.integers(0, 5000))
    def settle(self, data, tokens, cents):
        number = data.draw(st.sampled_from(sorted(self.open)))
        reservation, user = self.open.pop(number)
        self._settled(reservation, user, tokens, Decimal(cents) / 100)
        assert not self.quotas.settle(self.now, reservation, {"tokens": 1})

    @precondition(lambda self: self.vanished)
    @rule(data=st.data(), tokens=st.integers(0, 200))
    def settle_late(self, data, tokens):
        number = data.draw(st.sampled_from(sorted(self.vanished)))
        reservation, user = self.vanished.pop(number)
        self._settled(reservation, user, tokens, Decimal(0), late=True)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release(self, data):
        number = data.draw(st.sampled_from(sorted(self.open)))
        reservation, user = self.open.pop(number)
        assert self.quotas.release(self.now, reservation)
        self._returns(user, reservation, 0)

    @rule(seconds=st.sampled_from([0.5, 7, 61, 1800, RESERVATION_SECONDS, DAY_SECONDS]))
    def wait(self, seconds):
        self.now += seconds
        self.quotas.expire(self.now)
        self._expire()

    def _returns(self, user, reservation, tokens):
        held = next(one.reserve for one in reservation.claims if one.rule == "burst")
        self.returned[user] = self.returned.get(user, 0) + max(0, held - tokens)

    def _expire(self):
        for number, (reservation, user) in list(self.open.items()):
            if reservation.expires_at <= self.now:
                self.vanished[number] = (reservation, user)
                self._returns(user, reservation, 0)
                del self.open[number]

    def _settled(self, reservation, user, tokens, usd, late=False):
        actual = {"tokens": tokens, "usd": usd}
        assert self.quotas.settle(self.now, reservation, actual)
        if not late:
            self._returns(user, reservation, tokens)
        for claim in reservation.claims:
            key = (claim.rule, claim.unit)
            if key not in LIMITS:
                continue
            self.settled.append((self.now, user, key, actual[claim.unit]))
            promised = 0 if late else claim.reserve
            error = max(0, actual[claim.unit] - promised)
            self.errors[user, key] = self.errors.get((user, key), 0) + error

    def _standing(self, user, key):
        limit, every = LIMITS[key]
        claim = Claim(*key, limit, every, (("user", user),), 0)
        return claim, self.quotas.remaining(self.now, [claim])[0]

    @invariant()
    def nothing_is_lost_or_counted_twice(self):
        """Used is at least what settled within the true window and what is open; at most that
        plus one piece of the window, for rates."""
        for user in USERS:
            for key in LIMITS:
                claim, standing = self._standing(user, key)
                used = claim.limit - standing.remaining
                held = sum(
                    one.reserve
                    for reservation, owner in self.open.values()
                    if owner == user
                    for one in reservation.claims
                    if (one.rule, one.unit) == key
                )
                spent = [(at, amount) for at, who, of, amount in self.settled
                         if who == user and of == key]  # fmt: skip
                every = claim.every_seconds
                if is_calendar(every):
                    start = self.now // every * every
                    assert used == held + sum(amount for at, amount in spent if at >= start)
                else:
                    surely = sum(amount for at, amount in spent if at > self.now - every)
                    at_most = sum(amount for at, amount in spent if at > self.now - every * 1.05001)
                    assert held + surely <= used <= held + at_most

    @invariant()
    def the_limit_is_exceeded_only_by_the_calls_own_errors(self):
        for user in USERS:
            for key in LIMITS:
                _, standing = self._standing(user, key)
                assert -standing.remaining <= self.errors.get((user, key), 0)

    @invariant()
    def never_more_calls_at_once_than_allowed(self):
        for user in USERS:
            running = [one for one, owner in self.open.values() if owner == user]
            assert len(running) <= AT_ONCE
            claim = Claim("at-once", PARALLEL, AT_ONCE, 0, (("user", user),), 1)
            left = self.quotas.remaining(self.now, [claim])[0].remaining
            assert left == AT_ONCE - len(running)

    @invariant()
    def bursts_are_bounded_and_refill_steadily(self):
        """From any grant on, at most burst plus what refilled since was let in."""
        for user in USERS:
            mine = [(at, tokens) for at, who, tokens in self.poured if who == user]
            for index, (began, _) in enumerate(mine[-8:], max(0, len(mine) - 8)):
                let_in = sum(tokens for _, tokens in mine[index:])
                refilled = (self.now - began) * BURST_LIMIT / BURST_SECONDS
                returned = self.returned.get(user, 0)
                assert let_in <= BURST + refilled + returned + 1e-3

    @invariant()
    def reservations_do_not_leak(self):
        assert self.quotas.open_reservations == len(self.open)


Limits.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLimits = Limits.TestCase


def test_fifty_callers_at_once_stay_within_the_limit():
    """Reserve before use: however many ask at the same moment, the limit holds."""
    quotas, granted = Quotas(), []
    for _ in range(50):
        answer = quotas.reserve(0.0, [Claim("r", "tokens", 1000, 60, (), 90)])
        if not isinstance(answer, Exceeded):
            granted.append(answer)
    for reservation in granted:
        quotas.settle(5.0, reservation, {"tokens": 90})
    assert len(granted) == 11
