"""Limits: reserve before a call, settle with the provider's own numbers after it.

A call names its claims, one per limit that matches it. They are granted together or not
at all. What is reserved counts at once, so callers in parallel cannot all see the same
room; what is settled replaces it. Debt is kept: a call that used more than it reserved
closes the window for those after it. A call that vanishes without settling gives its
reservation back when it expires.

Pure but for its own dictionaries: time is an argument, nothing is read or written
elsewhere. One instance belongs to one event loop; it is not for threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from penstock.meter.windows import Amount, Window, is_calendar, slice_at

Scope = tuple[tuple[str, str], ...]

# Longer than any answer of a model runs: streams of agents with tools are cut by providers
# at 10 to 60 minutes. Only calls that vanished live to this age.
RESERVATION_SECONDS = 3600.0

# Scopes kept per rule. A scope of one piece costs about 0.4 KB, a full one 1.5 KB: 6 MB per rule
# at worst. Scope values may come from the caller (a user name, a model), so there has to be a
# bound; it is per rule so that flooding one rule's scopes cannot push out another's.
SCOPES_MAX = 4096

# Scope values come from headers and bodies; one is cut here so that a key stays small.
SCOPE_VALUE_CHARACTERS_MAX = 200

# Reservations that expired and may still be settled by a very long call.
EXPIRED_MAX = 4096

# What to tell a call that alone is larger than its limit: waiting does not help. Above one
# minute, so that the refusal carries x-should-retry: false.
NEVER_FITS_SECONDS = 3600.0

# Calls in flight settle at a moment nobody knows. The mean of past calls, within these bounds,
# is what a caller is told to wait when only they stand in the way.
HELD_SECONDS_MIN = 1.0
HELD_SECONDS_MAX = 60.0
HELD_SECONDS_FIRST = 5.0
HELD_WEIGHT = 0.1  # of the newest call in the running mean


@dataclass(slots=True, frozen=True)
class Claim:
    """One limit that a call falls under.

    ``unit`` is tokens, input_tokens, output_tokens, usd, requests or tool_calls. ``limit``
    per ``every_seconds`` (sliding below one day, calendar from there on; see windows.py)
    holds for each value of ``scope``. ``reserve`` is what this call is expected to use.
    """

    rule: str
    unit: str
    limit: Amount
    every_seconds: int
    scope: Scope
    reserve: Amount


@dataclass(slots=True, frozen=True)
class Exceeded:
    """The limit that refuses a call, the one with the longest wait if there are several.

    ``remaining`` may be negative (debt). ``fits`` is False when the call alone is larger
    than the limit.
    """

    rule: str
    unit: str
    limit: Amount
    remaining: Amount
    retry_after_seconds: float
    fits: bool = True


@dataclass(slots=True, frozen=True)
class Reservation:
    """Room taken for one call, until settled, released or ``expires_at`` (epoch seconds)."""

    id: int
    claims: tuple[Claim, ...]
    expires_at: float


@dataclass(slots=True, frozen=True)
class Remaining:
    """How a limit stands, for the RateLimit headers. ``reset_seconds`` until it is as new."""

    rule: str
    unit: str
    limit: Amount
    remaining: Amount
    every_seconds: int
    reset_seconds: float
    scope: Scope


Key = tuple[str, str, int]  # rule, unit, every_seconds


class Quotas:
    """All limits of one process, in memory."""

    def __init__(self, scopes_max: int = SCOPES_MAX) -> None:
        self._scopes_max = scopes_max
        self._windows: dict[Key, OrderedDict[Scope, Window]] = {}
        self._open: OrderedDict[int, Reservation] = OrderedDict()  # oldest first
        self._expired: OrderedDict[int, None] = OrderedDict()
        self._next_id = 1
        self._held_seconds = HELD_SECONDS_FIRST
        self.evicted = 0  # scopes forgotten at SCOPES_MAX, for metrics
        self.changed = 0  # grows with each spend: the journal's sign that a save is due

    def reserve(self, now: float, claims: Iterable[Claim]) -> Reservation | Exceeded:
        """Take room for all claims, or for none and say which limit refuses."""
        self.expire(now)
        wanted = tuple(claims)
        asked: dict[int, Amount] = {}  # two claims of one call may meet in the same window
        windows = [self._window(now, claim) for claim in wanted]
        worst: Exceeded | None = None
        for claim, window in zip(wanted, windows, strict=True):
            before = asked.get(id(window), 0)
            asked[id(window)] = before + claim.reserve
            refused = self._refused(now, claim, window, before)
            if refused and (not worst or refused.retry_after_seconds > worst.retry_after_seconds):
                worst = refused
        if worst:
            return worst
        for claim, window in zip(wanted, windows, strict=True):
            window.held += claim.reserve
        reservation = Reservation(self._next_id, wanted, now + RESERVATION_SECONDS)
        self._next_id += 1
        self._open[reservation.id] = reservation
        return reservation

    def settle(self, now: float, reservation: Reservation, actual: Mapping[str, Amount]) -> bool:
        """Replace what was reserved by what was used; False when it was settled before.

        A unit missing from ``actual`` (an unpriced call under a usd limit) counts as
        reserved: unknown is never free. A call that outlived its reservation is still
        counted.
        """
        if not self._close(now, reservation):
            if reservation.id not in self._expired:
                return False
            del self._expired[reservation.id]
        for claim in reservation.claims:
            amount = actual.get(claim.unit, claim.reserve)
            if amount:
                self._window(now, claim).spend(now, amount)
        self.changed += 1
        return True

    def release(self, now: float, reservation: Reservation) -> bool:
        """Give everything back: the call cost nothing. False when it was closed before."""
        if self._close(now, reservation):
            return True
        return self._expired.pop(reservation.id, self) is None

    def expire(self, now: float) -> int:
        """Give back the reservations of calls that vanished; the number of them."""
        count = 0
        while self._open:
            oldest = next(iter(self._open.values()))
            if oldest.expires_at > now:
                break
            self._give_back(now, oldest)
            del self._open[oldest.id]
            self._expired[oldest.id] = None
            if len(self._expired) > EXPIRED_MAX:
                self._expired.popitem(last=False)
            count += 1
        return count

    def remaining(self, now: float, claims: Sequence[Claim]) -> list[Remaining]:
        """How the limits of ``claims`` stand now, open reservations counted, tightest first."""
        self.expire(now)
        standing = []
        for claim in claims:
            window = self._window(now, claim)
            left = claim.limit - window.used(now)
            reset = max(0.0, window.resets_at(now) - now)
            standing.append(
                Remaining(
                    claim.rule, claim.unit, claim.limit, left, claim.every_seconds, reset,
                    claim.scope,
                )
            )  # fmt: skip
        return sorted(standing, key=lambda one: one.remaining / one.limit if one.limit else 0)

    @property
    def open_reservations(self) -> int:
        """Calls that hold room now."""
        return len(self._open)

    def budgets(self, now: float) -> list[tuple[Key, Scope, int, Amount]]:
        """What calendar windows have spent: (key, scope, period, amount), for the journal."""
        rows = []
        for key, scopes in self._windows.items():
            if is_calendar(key[2]):
                for scope, window in scopes.items():
                    window.forget(now)
                    rows += [(key, scope, piece, amount) for piece, amount in window.spent.items()]
        return rows

    def restore(self, now: float, rows: Iterable[tuple[Key, Scope, int, Amount]]) -> int:
        """Add what an earlier process spent in periods that still run; the number of rows used."""
        count = 0
        for key, scope, piece, amount in rows:
            if is_calendar(key[2]) and piece == slice_at(key[2], now):
                claim = Claim(*key[:2], limit=0, every_seconds=key[2], scope=scope, reserve=0)
                self._window(now, claim).spend(now, amount)
                count += 1
        return count

    def _refused(
        self, now: float, claim: Claim, window: Window, asked_before: Amount
    ) -> Exceeded | None:
        used = window.used(now)
        over = used + asked_before + claim.reserve - claim.limit
        if over <= 0:
            return None
        left = claim.limit - used
        if claim.reserve > claim.limit:
            wait = max(NEVER_FITS_SECONDS, float(claim.every_seconds))
            return Exceeded(claim.rule, claim.unit, claim.limit, left, wait, fits=False)
        free_at = window.frees_at(over)
        wait = self._held_seconds if free_at is None else max(0.0, free_at - now)
        return Exceeded(claim.rule, claim.unit, claim.limit, left, wait)

    def _close(self, now: float, reservation: Reservation) -> bool:
        if self._open.pop(reservation.id, None) is None:
            return False
        self._give_back(now, reservation)
        age = now - (reservation.expires_at - RESERVATION_SECONDS)
        mean = self._held_seconds + HELD_WEIGHT * (age - self._held_seconds)
        self._held_seconds = min(HELD_SECONDS_MAX, max(HELD_SECONDS_MIN, mean))
        return True

    def _give_back(self, now: float, reservation: Reservation) -> None:
        for claim in reservation.claims:
            self._window(now, claim).held -= claim.reserve

    def _window(self, now: float, claim: Claim) -> Window:
        key = (claim.rule, claim.unit, claim.every_seconds)
        scopes = self._windows.setdefault(key, OrderedDict())
        scope = _bounded(claim.scope)
        window = scopes.get(scope)
        if window is None:
            if len(scopes) >= self._scopes_max:
                self._evict(now, scopes)
            window = scopes[scope] = Window(claim.every_seconds)
        else:
            scopes.move_to_end(scope)
        return window

    def _evict(self, now: float, scopes: OrderedDict[Scope, Window]) -> None:
        """Forget the least recently used scope that no call in flight holds room in."""
        for scope, window in scopes.items():
            if not window.held:
                if window.used(now):
                    self.evicted += 1
                del scopes[scope]
                return


def _bounded(scope: Scope) -> Scope:
    if all(len(value) <= SCOPE_VALUE_CHARACTERS_MAX for _, value in scope):
        return scope
    return tuple((name, value[:SCOPE_VALUE_CHARACTERS_MAX]) for name, value in scope)
