"""How many requests may be in flight: additive increase, multiplicative decrease, one decision a round trip."""

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass

FIRST_LIMIT = 16
# Where somebody has said how many there may be, the user or the server: slow start from 16 to 100 would cost two round
# trips, a tenth of a run of 1,000 rows.
FIRST_LIMIT_TOLD = 128
TOLERATED_SHARE = 0.05
SIGMAS = 2.0
SURELY_SATURATED = 0.5
REFUSES_ALL = 0.9
VERDICT_SIZE = 32
MEMORY = 512
MIN_WINDOW = 8
FIRST_PROBE = 2
LONGEST_PROBE = 32
PLENTY = 1.5


@dataclass(frozen=True, slots=True)
class Slot:
    """Leave to have one request in flight; it belongs to the window that it was sent in (-1: to none)."""

    window: int
    since: float


class Pacing:
    """A window of requests in flight that grows while the server takes them and shrinks when it is saturated.

    A decision is taken once a window: when each of the first `limit` requests sent in it has been answered or turned
    away. The limit doubles until the first saturation and then becomes what the server admitted. From there one more
    is tried, at ever longer intervals: a single refusal takes that back. So a server with a fixed capacity is hardly
    ever asked for more than it has, and one that grows is followed.

    Turned away at random or for want of capacity? Only the latter gets better when less is asked. So a share of
    refusals that is above the tolerated one by more than chance first halves the limit. If that at least halves the
    share, the server was saturated, and the limit becomes what it admitted. If not, the refusals have nothing to do
    with us: the limit goes back to where it was, and that share is the new normal, which saturation has to exceed.

    Args:
        most: The limit is never above this.
        start: The limit to begin with.
    """

    def __init__(self, most: int, start: int = FIRST_LIMIT) -> None:
        self.most = max(1, most)
        self.limit = float(min(start, self.most))
        self.in_flight = 0
        self.round_trip = 0.1
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._saturated = False
        self._normal_share = 0.0
        self._experiment: tuple[float, float] | None = None  # the limit that was halved, and the share then
        self._capacity = 0.0  # what it admitted when it was last saturated
        self._probe_every = FIRST_PROBE
        self._calm = 0
        self._told = self._refused = 0  # evidence gathered at this limit
        self._window = 0
        self._open_window()

    def _open_window(self) -> None:
        self._window += 1
        self._size = max(MIN_WINDOW, int(self.limit))
        self._sent = self._settled = self._turned_away = self._said_nothing = self._busiest = 0

    async def acquire(self) -> Slot:
        """Wait until one more request may be sent."""
        while self.in_flight >= int(self.limit):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                else:
                    self._wake()
                raise
        self.in_flight += 1
        self._busiest = max(self._busiest, self.in_flight)
        counted = self._sent < self._size
        self._sent += counted
        return Slot(self._window if counted else -1, time.monotonic())

    def release(self, slot: Slot, *, turned_away: bool | None) -> None:
        """Give a slot back.

        Args:
            slot: What `acquire` returned.
            turned_away: Whether the server refused for being busy; None when the request says nothing about that.
        """
        self.in_flight -= 1
        if turned_away is False:
            self.round_trip += 0.2 * (time.monotonic() - slot.since - self.round_trip)
        if slot.window == self._window:
            self._settled += 1
            self._turned_away += turned_away is True
            self._said_nothing += turned_away is None
            if self._settled >= self._size:
                self._decide()
                self._open_window()
        self._wake()

    def _wake(self) -> None:
        free = int(self.limit) - self.in_flight
        while free > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1

    def _decide(self) -> None:
        told = self._settled - self._said_nothing
        self._told += told
        self._refused += self._turned_away
        if not told:
            return
        if self._told > MEMORY:
            self._told, self._refused = self._told // 2, self._refused // 2
        share = self._refused / self._told
        if self._experiment is not None:
            if self._told >= VERDICT_SIZE:
                self._judge(*self._experiment, share)
            return
        if self._told >= VERDICT_SIZE and share < self._normal_share / 2:
            self._normal_share = share
        # Above what a saturated server admitted, a single refusal more than usual says that it still takes no more.
        above = self._saturated and self.limit > self._capacity
        expected = self._told * min(0.9, self._normal_share + (0.0 if above else TOLERATED_SHARE))
        if self._refused > expected + SIGMAS * math.sqrt(expected):
            self._shrink(share)
        elif self._busiest >= int(self.limit):  # a limit that was not reached says nothing about a higher one
            self._grow()

    def _judge(self, before: float, share_before: float, share: float) -> None:
        """Decide, after the limit was halved, whether that helped."""
        self._experiment = None
        if share <= share_before / 2:
            self._reduce(before, share_before)
        else:
            self._normal_share, self._saturated = share, False
            self._set_limit(before)

    def _shrink(self, share: float) -> None:
        # Nobody refuses so many at random, nor again and again at the same limit and not below it.
        if share > SURELY_SATURATED or (self._saturated and self.limit >= self._capacity):
            self._reduce(self.limit, share)
        else:
            self._experiment = (self.limit, share)
            self._set_limit(self.limit / 2)

    def _reduce(self, limit: float, share: float) -> None:
        """Go down from a limit at which the server was saturated to what it admitted there."""
        # A server that refuses all says nothing about its capacity.
        self._saturated = share < REFUSES_ALL
        self._calm = 0
        self._probe_every = min(2 * self._probe_every, LONGEST_PROBE)
        self._set_limit(limit * (1 - share) if self._saturated else limit / 2)
        self._capacity = self.limit

    def _grow(self) -> None:
        self._calm += 1
        if self._saturated and self.limit > PLENTY * self._capacity:
            self._saturated = False  # it takes far more than it did
        if not self._saturated:
            self._set_limit(2 * self.limit)
        elif self._calm >= self._probe_every:
            self._calm = 0
            if self.limit > self._capacity + 1:
                self._probe_every = max(FIRST_PROBE, self._probe_every // 2)
            self._set_limit(self.limit + 1)

    def _set_limit(self, limit: float) -> None:
        self.limit = min(float(self.most), max(1.0, limit))
        self._told = self._refused = 0
