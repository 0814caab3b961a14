"""The one thread of a run that asks and decides.

It has an event loop of its own, so that a run works where one is running already (Jupyter, Gradio), and goes on while
a worker that consumes its examples pauses: the others may need what it decides.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from filelock import BaseFileLock

from rebase_hf.decisions import Decisions
from rebase_hf.errors import RebaseError
from rebase_hf.outcomes import RunState
from rebase_hf.round import Round
from rebase_hf.teacher.asking import Asker
from rebase_hf.teacher.journal import Journal
from rebase_hf.work import Work

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
LINGER_SECONDS = 3.0
# What another process said that it needs counts for so long; it says it again every second while it waits.
HEARD_SECONDS = 10.0
# A run that waits for its turn to ask says so this often.
SAY_SECONDS = 30.0


class Leader(threading.Thread):
    """Asks and decides until enough examples are accepted, as far ahead as the consumers need.

    Attributes:
        error: What ended it early, if anything did; raised again in the consumers.
        progress: Notified after every batch of decisions, and at the end.
    """

    def __init__(self, work: Work, run_id: str, decisions: Callable[[], Decisions], lease: BaseFileLock) -> None:
        super().__init__(name=f"rebase-leader-{run_id[:8]}", daemon=True)
        self.error: BaseException | None = None
        self.session = work.session
        self.progress = threading.Condition()
        self._work = work
        self._open_decisions = decisions
        self._lease = lease
        self._needed = 0
        self._stopping, self._abandoned = threading.Event(), threading.Event()
        self._said_waiting = -SAY_SECONDS
        self._idle_since: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def need(self, upto: int) -> None:
        """Say that a consumer of this process needs the examples before position `upto`."""
        self._idle_since = None
        if upto > self._needed:
            self._needed = upto
            self._notify()

    def rest(self) -> None:
        """Say that no consumer of this process is left: after a while without a new one the leader ends."""
        self._idle_since = time.monotonic()
        self._notify()

    def stop(self) -> None:
        """Admit nothing more; what is in flight is still awaited and journalled."""
        self._stopping.set()
        self._notify()

    def abandon(self) -> None:
        """Do not even wait for what is in flight."""
        self._abandoned.set()
        self.stop()

    def run(self) -> None:
        """Lead; the thread's body."""
        try:
            self.error = asyncio.run(self._outcome())
        finally:
            self._lease.release()
            with self.progress:
                self.progress.notify_all()

    async def _outcome(self) -> BaseException | None:
        """Lead to the end and return what ended it early: the consumers raise it, whatever it is."""
        leading = asyncio.ensure_future(self._lead())
        await asyncio.wait({leading})
        return leading.exception()

    def _notify(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            with suppress(RuntimeError):  # the loop closed in between: there is nobody left to wake
                loop.call_soon_threadsafe(wake.set)

    async def _lead(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        decisions = self._open_decisions()
        try:
            before = decisions.usage()
            journal = Journal.open()
        except RebaseError:
            decisions.close()
            raise
        try:
            spent = before.get("session", {})
            asker = await self._unless_stopped(
                self._work.open_asker(journal, spent if spent.get("name") == self._work.session else {})
            )
            if asker is None:
                return
            try:
                round_ = Round(self._work, asker, decisions, before, self._wake)
                await self._rounds(round_, decisions)
            finally:
                await asker.close()
        finally:
            journal.close()
            decisions.close()

    async def _unless_stopped(self, opening: Awaitable[Asker]) -> Asker | None:
        """Return the open teacher; a server that is starting may be waited for, and nobody may want it any more."""
        asker = asyncio.ensure_future(opening)
        while not asker.done():
            await asyncio.wait({asker}, timeout=POLL_SECONDS)
            if self._over() and not asker.done():
                asker.cancel()
                return None
        return asker.result()

    async def _rounds(self, round_: "Round", decisions: Decisions) -> None:
        state: RunState | None = None
        try:
            while state is None and not self._over():
                ahead = self._ahead(round_, decisions)
                moved = self._may_ask(round_, ahead) and round_.admit(ahead)
                state = round_.decide()
                if round_.flush():
                    self._tell()
                elif state is None and not moved:
                    await self._pause()
                await asyncio.sleep(0)
        finally:
            await round_.drain(self._abandoned)
            round_.finish(state or RunState())
            self._work.turn.give_back()
            self._tell()

    def _may_ask(self, round_: "Round", ahead: int) -> bool:
        """Whether it is this run's turn to ask; while it has nothing to ask, another's."""
        turn = self._work.turn
        if ahead <= 0:
            if not round_.in_flight:
                turn.give_back()
            return False
        if turn.take():
            return True
        if (now := time.monotonic()) > self._said_waiting + SAY_SECONDS:
            self._said_waiting = now
            logger.warning(
                "Another run asks the same teacher the same questions: %s. Waiting for it; its answers serve this run "
                "too.",
                turn.holder(),
            )
        return False

    def _over(self) -> bool:
        if self._stopping.is_set():
            return True
        return self._idle_since is not None and time.monotonic() - self._idle_since > LINGER_SECONDS

    def _ahead(self, round_: "Round", decisions: Decisions) -> int:
        """Return how many examples past those accepted are needed now, here or by another process."""
        needed = 0 if self._idle_since is not None else self._needed
        if round_.accepted >= needed:
            needed = max(needed, decisions.needed(time.time() - HEARD_SECONDS))
        return max(0, min(needed, self._work.num_examples) - round_.accepted)

    async def _pause(self) -> None:
        """Wait until an answer arrives or a consumer needs more; look now and then for what other processes need."""
        assert self._wake is not None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
        self._wake.clear()

    def _tell(self) -> None:
        with self.progress:
            self.progress.notify_all()
