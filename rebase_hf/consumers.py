"""Who reads a run, and who leads it: one leader a run and process, shared by all consumers there."""

import atexit
import logging
import os
import socket
import sys
import threading
import time
import uuid

from filelock import Timeout

from rebase_hf.decisions import Decisions
from rebase_hf.errors import JournalError
from rebase_hf.leader import POLL_SECONDS, Leader
from rebase_hf.plan import Plan
from rebase_hf.planned_work import work_of

logger = logging.getLogger(__name__)

# A worker that waits for another process says this often how far it needs it to go.
TELL_SECONDS = 1.0
# Who waits so long for another process to decide is told which.
SAY_SECONDS = 2.0
_LEADERS: dict[str, Leader] = {}
_CONSUMERS: dict[str, int] = {}
_LOCK = threading.Lock()


class Consumer:
    """One reader of a run: leads when nobody does, and otherwise waits for who leads."""

    def __init__(self, plan: Plan, decisions: Decisions) -> None:
        self._plan, self._decisions = plan, decisions
        self._worker = uuid.uuid4().hex
        self._told = (-1, 0.0)
        self._since, self._said = time.monotonic(), False
        self._attached = False

    def need(self, upto: int) -> None:
        """Say that the examples before position `upto` are needed, to the leader here or in another process."""
        leader = self._leader()
        if leader is not None:
            leader.need(upto)
        elif upto > self._told[0] or time.monotonic() - self._told[1] > TELL_SECONDS:
            self._decisions.need(self._worker, upto)
            self._told = (upto, time.monotonic())

    def wait(self) -> None:
        """Wait for progress; become the leader when the run has none.

        Raises:
            The error that ended this process's leader.
        """
        leader = self._leader()
        if leader is None:
            if not self._lead():
                self._say_who_leads()
                time.sleep(POLL_SECONDS)
            return
        with leader.progress:
            if leader.is_alive():
                leader.progress.wait(POLL_SECONDS)
        if not leader.is_alive():
            leader.join()
            with _LOCK:
                if _LEADERS.get(self._plan.run_id) is leader:
                    del _LEADERS[self._plan.run_id]
            if leader.error is not None:
                raise leader.error

    def _say_who_leads(self) -> None:
        if not self._said and time.monotonic() > self._since + SAY_SECONDS:
            self._said = True
            logger.info("This run is led by %s; its examples are read as they are decided.", self._decisions.holder())

    def leave(self) -> None:
        """Let go of the leader; the last consumer to leave lets it rest."""
        if self._told[0] >= 0:
            self._decisions.leave(self._worker)
        with _LOCK:
            if not self._attached:
                return
            self._attached = False
            run_id = self._plan.run_id
            _CONSUMERS[run_id] -= 1
            if _CONSUMERS[run_id] == 0 and (leader := _LEADERS.get(run_id)) is not None:
                leader.rest()

    def _leader(self) -> Leader | None:
        """Return this process's leader of the run, if it is one to go on with."""
        run_id = self._plan.run_id
        with _LOCK:
            leader = _LEADERS.get(run_id)
            if leader is None or self._attached:
                return leader
            left_over = not _CONSUMERS.get(run_id) and leader.session != self._plan.session
            if leader.is_alive() and not left_over:
                self._attach()
                return leader
        # What an earlier call left behind has that call's address, key and limits, and its error is no news here.
        leader.stop()
        leader.join()
        with _LOCK:
            if _LEADERS.get(run_id) is leader:
                del _LEADERS[run_id]
        return None

    def _attach(self) -> None:
        self._attached = True
        _CONSUMERS[self._plan.run_id] = _CONSUMERS.get(self._plan.run_id, 0) + 1

    def _lead(self) -> bool:
        """Become the leader if the lease is free; return whether it was."""
        _guard_exit_and_fork()
        with _LOCK:
            if self._plan.run_id in _LEADERS:
                return True
            lease = self._decisions.lease()
            try:
                lease.acquire(timeout=0)
            except Timeout:
                return False
            about = {"task": self._plan.task.name, "model": self._plan.identity.model, "pid": os.getpid()}
            about["seed"] = self._plan.seed
            try:
                self._decisions.describe(about | {"host": socket.gethostname(), "at": time.time()})
            except JournalError:
                lease.release()
                raise
            leader = Leader(work_of(self._plan), self._plan.run_id, lambda: Decisions.open(self._plan.run_id), lease)
            _LEADERS[self._plan.run_id] = leader
            if not self._attached:
                self._attach()
            # Within the lock: another reader that finds it may join it.
            leader.start()
        return True


def await_leader(run_id: str) -> None:
    """Wait until the leader of a run in this process, if there is one, has written how the run ended."""
    with _LOCK:
        leader = _LEADERS.get(run_id)
    if leader is None:
        return
    leader.join()
    with _LOCK:
        # A failed one stays for the consumer that is still to raise what it failed with.
        if leader.error is None and _LEADERS.get(run_id) is leader:
            del _LEADERS[run_id]


def stop_leader(run_id: str) -> None:
    """Let the leader of a run in this process ask nothing more, and wait until what is in flight is journalled."""
    with _LOCK:
        leader = _LEADERS.get(run_id)
    if leader is None:
        return
    leader.stop()
    try:
        leader.join()
    except BaseException:
        leader.abandon()  # whoever interrupts a second time does not want to wait
        raise


def _stop_leaders() -> None:
    """Let leaders finish what is in flight when the interpreter ends: it is paid for."""
    with _LOCK:
        leaders = list(_LEADERS.values())
    for leader in leaders:
        leader.stop()
    for leader in leaders:
        leader.join(timeout=60.0)


def _forget_leaders() -> None:
    """In a forked child: the parent's leaders are threads of the parent."""
    global _LOCK
    _LOCK = threading.Lock()
    _LEADERS.clear()
    _CONSUMERS.clear()


_guarded_pid = 0


def _guard_exit_and_fork() -> None:
    """Have leaders stopped when this process ends, and forgotten in the children that it forks; once a process."""
    global _guarded_pid
    if _guarded_pid == os.getpid():
        return
    if _guarded_pid == 0:
        os.register_at_fork(after_in_child=_forget_leaders)  # children inherit it
        atexit.register(_stop_leaders)
    _guarded_pid = os.getpid()
    # A worker of a DataLoader or of num_proc (`datasets` uses multiprocess) ends without what atexit registered.
    for name in ("multiprocessing.util", "multiprocess.util"):
        if (util := sys.modules.get(name)) is not None:
            util.Finalize(None, _stop_leaders, exitpriority=100)
