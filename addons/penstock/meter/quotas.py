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
from dataclasses import dataclass, field, replace

from penstock.meter.account import Account
from penstock.meter.rates import Bucket, Slots
from penstock.meter.windows import Amount, Window, is_calendar, slice_at

Scope = tuple[tuple[str, str], ...]

PARALLEL = "parallel"  # the unit of calls at the same time

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

    ``unit`` is tokens, input_tokens, output_tokens, usd, requests, tool_calls or parallel.
    ``limit`` per ``every_seconds`` (sliding below one day, calendar in ``zone`` from there
    on; see windows.py) holds for each value of ``scope``. With ``burst`` at most that much
    is used at once, and the limit refills steadily (rates.py). ``reserve`` is what this call
    is expected to use.
    """

    rule: str
    unit: str
    limit: Amount
    every_seconds: int
    scope: Scope
    reserve: Amount
    zone: str = "UTC"
    burst: Amount | None = None

    @property
    def room(self) -> Amount:
        """The most that may count at one moment."""
        return self.limit if self.burst is None else self.burst

    @property
    def key(self) -> Key:
        """What all claims of one rule share, whatever the scope."""
        shape = "burst" if self.burst is not None else self.zone
        return self.rule, self.unit, self.every_seconds, shape


@dataclass(slots=True, frozen=True)
class Exceeded:
    """The limit that refuses a call, the one with the longest wait if there are several.

    ``remaining`` may be negative (debt). ``fits`` is False when the call alone is larger
    than the limit. ``limit`` is the scope's own, its burst where it has one.
    ``unavailable``: nobody knows, the store of shared limits cannot be reached. ``rules`` are
    all that refuse, this one among them.
    """

    rule: str
    unit: str
    limit: Amount
    remaining: Amount
    retry_after_seconds: float
    fits: bool = True
    unavailable: bool = False
    rules: tuple[str, ...] = ()


@dataclass(slots=True)
class Reservation:
    """Room taken for one call, until settled, released or ``expires_at`` (epoch seconds).

    ``held`` is what is held for each claim; it grows with an answer that is longer than
    was expected, see ``Quotas.grow``.
    """

    id: int
    claims: tuple[Claim, ...]
    expires_at: float
    held: list[Amount] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)


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


# Rule, unit, every_seconds, and the zone of its calendar or "burst".
Key = tuple[str, str, int, str]


class Quotas:
    """All limits of one process, in memory."""

    def __init__(self, scopes_max: int = SCOPES_MAX) -> None:
        self._scopes_max = scopes_max
        self._windows: dict[Key, OrderedDict[Scope, Account]] = {}
        self._open: OrderedDict[int, Reservation] = OrderedDict()  # oldest first
        self._expired: OrderedDict[int, None] = OrderedDict()
        self._next_id = 1
        self._held_seconds = HELD_SECONDS_FIRST
        self.evicted = 0  # scopes forgotten at SCOPES_MAX, for metrics
        self.changed = 0  # grows with each spend: the journal's sign that a save is due

    def reserve(
        self, now: float, claims: Iterable[Claim], force: bool = False
    ) -> Reservation | Exceeded:
        """Take room for all claims, or for none and say which limit refuses.

        With ``force`` it is taken whatever is left: the limit is in debt then.
        """
        self.expire(now)
        wanted = tuple(claims)
        windows = [self._window(now, claim) for claim in wanted]
        if not force and (worst := self._worst(now, wanted, windows)):
            return worst
        origins = [
            window.take(now, claim.reserve) for claim, window in zip(wanted, windows, strict=True)
        ]
        held = [claim.reserve for claim in wanted]
        expires = now + RESERVATION_SECONDS
        reservation = Reservation(self._next_id, wanted, expires, held, origins)
        self._next_id += 1
        self._open[reservation.id] = reservation
        return reservation

    def short(self, now: float, claims: Iterable[Claim]) -> bool:
        """True when a shared store has to be asked first. These limits are this process's own."""
        return False

    def grow(self, now: float, reservation: Reservation, seen: Mapping[str, Amount]) -> list[Claim]:
        """An answer has come to ``seen`` so far: hold that much; the limits now exceeded.

        Only what goes beyond the reservation is held in addition.
        """
        if reservation.id not in self._open:
            return []
        over = []
        for index, claim in enumerate(reservation.claims):
            more = seen.get(claim.unit, 0) - reservation.held[index]
            if more > 0:
                window = self._window(now, claim)
                window.hold_more(now, more)
                reservation.held[index] += more
                if window.used(now) > claim.room:
                    over.append(claim)
        return over

    def settle(self, now: float, reservation: Reservation, actual: Mapping[str, Amount]) -> bool:
        """Replace what was reserved by what was used; False when it was settled before.

        A unit missing from ``actual`` (an unpriced call under a usd limit) counts as
        reserved: unknown is never free. A call that outlived its reservation is still
        counted.
        """
        known = self._closed(now, reservation)
        if not known and self._expired.pop(reservation.id, self) is self:
            return False
        parts = zip(reservation.claims, reservation.held, reservation.origins, strict=True)
        for claim, held, origin in parts:
            amount = actual.get(claim.unit, claim.reserve)
            window = self._window(now, claim)
            if known:
                window.settle(now, held, amount, origin)
            elif amount:
                window.spend(now, amount)
        self.changed += 1
        return True

    def release(self, now: float, reservation: Reservation) -> bool:
        """Give everything back: the call cost nothing. False when it was closed before."""
        if self._closed(now, reservation):
            self._give_back(now, reservation)
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
            left = claim.room - window.used(now)
            reset = max(0.0, window.resets_at(now) - now)
            standing.append(
                Remaining(
                    claim.rule, claim.unit, claim.room, left, claim.every_seconds, reset,
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
                    assert isinstance(window, Window)  # calendars are windows
                    window.forget(now)
                    rows += [(key, scope, piece, amount) for piece, amount in window.spent.items()]
        return rows

    def restore(self, now: float, rows: Iterable[tuple[Key, Scope, int, Amount]]) -> int:
        """Add what an earlier process spent in periods that still run; the number of rows used."""
        count = 0
        for key, scope, piece, amount in rows:
            rule, unit, every, zone = key
            if is_calendar(every) and piece == slice_at(every, now, zone):
                claim = Claim(rule, unit, 0, every, scope, 0, zone)
                self._window(now, claim).spend(now, amount)
                count += 1
        return count

    def _worst(
        self, now: float, wanted: Sequence[Claim], windows: Sequence[Account]
    ) -> Exceeded | None:
        """The refusal with the longest wait, None when all fit."""
        asked: dict[int, Amount] = {}  # two claims of one call may meet in the same window
        worst: Exceeded | None = None
        rules: list[str] = []
        for claim, window in zip(wanted, windows, strict=True):
            before = asked.get(id(window), 0)
            asked[id(window)] = before + claim.reserve
            refused = self._refused(now, claim, window, before)
            if refused is None:
                continue
            rules.append(claim.rule)
            if worst is None or refused.retry_after_seconds > worst.retry_after_seconds:
                worst = refused
        return worst and replace(worst, rules=tuple(rules))

    def _refused(
        self, now: float, claim: Claim, window: Account, asked_before: Amount
    ) -> Exceeded | None:
        used, room = window.used(now), claim.room
        over = used + asked_before + claim.reserve - room
        if over <= 0:
            return None
        left = room - used
        if claim.reserve > room:
            wait = max(NEVER_FITS_SECONDS, float(claim.every_seconds))
            return Exceeded(claim.rule, claim.unit, room, left, wait, fits=False)
        free_at = window.frees_at(now, over)
        wait = self._held_seconds if free_at is None else max(0.0, free_at - now)
        return Exceeded(claim.rule, claim.unit, room, left, wait)

    def _closed(self, now: float, reservation: Reservation) -> bool:
        """Take it off the open ones; False when it is not among them."""
        if self._open.pop(reservation.id, None) is None:
            return False
        age = now - (reservation.expires_at - RESERVATION_SECONDS)
        mean = self._held_seconds + HELD_WEIGHT * (age - self._held_seconds)
        self._held_seconds = min(HELD_SECONDS_MAX, max(HELD_SECONDS_MIN, mean))
        return True

    def _give_back(self, now: float, reservation: Reservation) -> None:
        parts = zip(reservation.claims, reservation.held, reservation.origins, strict=True)
        for claim, held, origin in parts:
            self._window(now, claim).give_back(now, held, origin)

    def _window(self, now: float, claim: Claim) -> Account:
        scopes = self._windows.setdefault(claim.key, OrderedDict())
        scope = _bounded(claim.scope)
        window = scopes.get(scope)
        if window is None:
            if len(scopes) >= self._scopes_max:
                self._evict(now, scopes)
            window = scopes[scope] = self._account(claim)
        else:
            scopes.move_to_end(scope)
        if claim.burst is not None and isinstance(window, Bucket):  # the policy may have changed
            window.seconds_each = seconds_each(claim)
        return window

    def _account(self, claim: Claim) -> Account:
        return account_for(claim)

    def _evict(self, now: float, scopes: OrderedDict[Scope, Account]) -> None:
        """Forget the least recently used scope that no call in flight holds room in."""
        for scope, window in scopes.items():
            if not window.held:
                if window.used(now):
                    self.evicted += 1
                del scopes[scope]
                return


def account_for(claim: Claim) -> Account:
    """A fresh account of the kind the claim's limit counts in."""
    if claim.unit == PARALLEL:
        return Slots()
    if claim.burst is not None:
        return Bucket(seconds_each(claim), whole=claim.unit != "usd")
    return Window(claim.every_seconds, claim.zone)


def seconds_each(claim: Claim) -> float:
    """How long one unit of a limit with burst takes to come back."""
    return claim.every_seconds / float(claim.limit or 1)


def _bounded(scope: Scope) -> Scope:
    if all(len(value) <= SCOPE_VALUE_CHARACTERS_MAX for _, value in scope):
        return scope
    return tuple((name, value[:SCOPE_VALUE_CHARACTERS_MAX]) for name, value in scope)
