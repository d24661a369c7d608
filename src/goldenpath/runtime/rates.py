"""How much each user, and all together, may do over time. Sans-I/O.

The generic cell rate algorithm (GCRA, in its virtual scheduling form: ITU-T I.371, annex A): of each key and limit only
the *theoretical arrival time* is kept, when all that was taken so far will be paid for at the limit's rate. It may lie
ahead of now by as long as the burst takes to be paid for. So a limit costs one number a key, has no window at whose
edge twice as much goes through, and knows to the moment when what it refuses will be taken.

Memory is bounded by the number of keys: who asked least lately is forgotten first, and would have a whole burst again.
To be forgotten while one is in debt takes `MAX_KEYS` others who ask meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final, Literal, TypeVar, get_args

import msgspec

from goldenpath.clock import Clock
from goldenpath.runtime.context import Principal
from goldenpath.runtime.settings import Rate, ServerRates, Settings, TierLimits
from goldenpath.wire.errors import RequestError

K = TypeVar("K")

MAX_KEYS: Final = 65_536
"""Of how many users, e-mails and addresses it is known what they took."""
_EXACT: Final = 1e-6
"""Less than this, in seconds, is rounding: sums of times of days are exact to some nanoseconds."""

Kind = Literal["commands", "bytes", "runs", "logins"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Costs = tuple[float, ...]
"""What is asked for, of each kind."""
_Limits = tuple[tuple[int, Rate], ...]
"""Those of an account that there are: which of `KINDS`, and its rate."""


def wait(paid_at: float, rate: Rate, now: float, cost: float) -> float:
    """Seconds until `cost` may be taken of what will be paid for at `paid_at`, if nothing else is meanwhile; 0.0: now.

    A cost above the burst may be taken once everything before it is paid for.
    """
    ahead = paid_at - now
    room = (rate.burst - cost) / rate.per_second if cost < rate.burst else 0.0
    return ahead - room if ahead > room + _EXACT else 0.0


def taken(paid_at: float, rate: Rate, now: float, cost: float) -> float:
    """When everything will be paid for once `cost` has been taken."""
    return max(paid_at, now) + cost / rate.per_second


class RateStatistics(msgspec.Struct, frozen=True):
    """Whose rates are known now, and what was refused since the start, by the limit that refused it."""

    users: int
    """Users of whom it is known what they took."""
    emails: int
    """E-mails of which it is known how often a log-in was tried."""
    addresses: int
    """Addresses from which log-ins failed."""
    addresses_refused: int
    """Log-ins and registrations from addresses where too many failed."""
    commands_refused: int
    """Commands and calls over their user's rate of commands."""
    bytes_refused: int
    """Commands and calls over their user's rate of bytes."""
    runs_refused: int
    """Runs over their user's rate of runs."""
    logins_refused: int
    """Log-ins and registrations over the rate for their e-mail."""
    server_commands_refused: int
    """Commands and calls over the server's rate of commands."""
    server_bytes_refused: int
    """Commands and calls over the server's rate of bytes."""
    server_runs_refused: int
    """Runs over the server's rate of runs."""
    server_logins_refused: int
    """Log-ins and registrations over the server's rate."""


class _Account:
    """What one user, one e-mail, or everybody took: when it will be paid for, of each kind."""

    __slots__ = ("paid_at",)

    def __init__(self) -> None:
        self.paid_at = [0.0] * len(KINDS)


class RateLimits:
    """The rates of one server. Belongs to the event loop's thread.

    What is refused takes nothing: who waits for `retry_after`, and does nothing else meanwhile, is not refused again,
    but by the whole server's rates, which others use. `rate_limited` is over one's own rate, `overloaded` over these.
    """

    def __init__(self, settings: Settings, clock: Clock, *, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._tiers = {name: _limits(settings.tier(name)) for name in settings.tiers}
        self._other_tiers = _limits(settings.tier("free"))
        self._email: _Limits = () if settings.login_rate is None else ((KINDS.index("logins"), settings.login_rate),)
        self._failure_rate = settings.login_failure_rate
        self._server_limits = _limits(settings.server_rates)
        self._server = _Account()
        self._users: OrderedDict[str, _Account] = OrderedDict()
        self._emails: OrderedDict[bytes, _Account] = OrderedDict()
        self._addresses: OrderedDict[str, float] = OrderedDict()
        """When the failures from an address will be paid for."""
        self._addresses_refused = 0
        self._refused = [0] * len(KINDS)
        self._server_refused = [0] * len(KINDS)

    def command(self, principal: Principal, size: int, *, runs: int = 0) -> None:
        """Take in a command, or a call, of `size` bytes that asks for so many `runs`. Raises `RequestError`:
        `rate_limited`, `overloaded`."""
        limits = self._tiers.get(principal.tier, self._other_tiers)
        if limits or self._server_limits:  # nothing is kept where nothing is limited
            account = _account(self._users, principal.user_id, self._max_keys) if limits else None
            self._take(account, limits, (1, size, runs, 0))

    def login(self, email: str) -> None:
        """Take in a try to log in, or to register, with `email` in its normal form. Whether anybody has it makes no
        difference. Raises `RequestError`: `rate_limited`, `overloaded`."""
        account = None
        if self._email:
            digest = blake2b(email.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            account = _account(self._emails, digest, self._max_keys)
        self._take(account, self._email, (0, 0, 0, 1))

    def check_address(self, address: str | None) -> None:
        """Whether a log-in from `address` may be tried; None: it is not known, and not limited. Raises `RequestError`
        (`rate_limited`): too many failed, be it with ever another e-mail."""
        paid_at = None if address is None else self._addresses.get(address)
        if paid_at is None or self._failure_rate is None:
            return
        retry_after = wait(paid_at, self._failure_rate, self._clock.monotonic(), 1.0)
        if retry_after:
            self._addresses_refused += 1
            message = f"too many failed log-ins from your address; wait {retry_after:.3g} s"
            raise RequestError("rate_limited", message, retry_after=retry_after)

    def failed_from(self, address: str | None) -> None:
        """Take in that a log-in from `address` failed. Those that were under way together all count, even over the
        rate."""
        if address is None or self._failure_rate is None:
            return
        paid_at = self._addresses.pop(address, 0.0)
        self._addresses[address] = taken(paid_at, self._failure_rate, self._clock.monotonic(), 1.0)
        if len(self._addresses) > self._max_keys:
            self._addresses.popitem(last=False)

    def _take(self, account: _Account | None, limits: _Limits, costs: Costs) -> None:
        """Take all that is asked for, or nothing."""
        now = self._clock.monotonic()
        both = ((account, limits), (self._server, self._server_limits))
        for each, theirs in both:
            for kind, rate in theirs:
                if each is not None and costs[kind] and wait(each.paid_at[kind], rate, now, costs[kind]):
                    raise self._refusal(account, limits, costs, now)
        for each, theirs in both:
            for kind, rate in theirs:
                if each is not None and costs[kind]:
                    each.paid_at[kind] = taken(each.paid_at[kind], rate, now, costs[kind])

    def _refusal(self, account: _Account | None, limits: _Limits, costs: Costs, now: float) -> RequestError:
        """Tells of the limit that takes longest to have room, of one's own first: that one can do something about. But
        the time is that until all of them have room."""
        own, own_kind = _longest(account, limits, costs, now)
        server, server_kind = _longest(self._server, self._server_limits, costs, now)
        retry_after = max(own, server)
        if own:
            self._refused[own_kind] += 1
            which = "log-ins with this e-mail" if KINDS[own_kind] == "logins" else f"{KINDS[own_kind]} of yours"
            return RequestError("rate_limited", f"too many {which}; wait {retry_after:.3g} s", retry_after=retry_after)
        self._server_refused[server_kind] += 1
        message = f"too many {KINDS[server_kind]} on this server; wait {retry_after:.3g} s"
        return RequestError("overloaded", message, retry_after=retry_after)

    def statistics(self) -> RateStatistics:
        return RateStatistics(
            len(self._users),
            len(self._emails),
            len(self._addresses),
            self._addresses_refused,
            *self._refused,
            *self._server_refused,
        )


def _limits(given: TierLimits | ServerRates) -> _Limits:
    rates = ((kind, getattr(given, name, None)) for kind, name in enumerate(KINDS))
    return tuple((kind, rate) for kind, rate in rates if rate is not None)


def _longest(account: _Account | None, limits: _Limits, costs: Costs, now: float) -> tuple[float, int]:
    """The longest wait of an account's, and which of `KINDS` it is of."""
    if account is None:
        return 0.0, 0
    waits = ((wait(account.paid_at[kind], rate, now, costs[kind]), kind) for kind, rate in limits if costs[kind])
    return max(waits, default=(0.0, 0))


def _account(known: OrderedDict[K, _Account], key: K, most: int) -> _Account:
    """The account of `key`, which asks now: of too many, who asked least lately is forgotten."""
    account = known.get(key)
    if account is None:
        account = known[key] = _Account()
        if len(known) > most:
            known.popitem(last=False)
    else:
        known.move_to_end(key)
    return account
