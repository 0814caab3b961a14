"""generate(): retrieve, draft, ask, check; and what a run is, to the last count.

Plan ─► Run.examples() ─► Example, Example, ...
│ one process leads (leader.py): drafts of the method ─► teacher ─► gate ─► decisions on disk
└ every consumer, in this process or another, reads the decisions
"""

import atexit
import hashlib
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from filelock import Timeout

from rebase_hf.decisions import Decisions, RunState, Tally, read_example
from rebase_hf.errors import NoExamplesError, TaskError
from rebase_hf.home import rebase_home
from rebase_hf.index.row_index import RowIndex
from rebase_hf.leader import POLL_SECONDS, Leader, Work
from rebase_hf.methods import rebase
from rebase_hf.methods.rebase import ReBaseOptions
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.gate import CheckOptions, Gate
from rebase_hf.rows import Draft, Dropped, Example
from rebase_hf.task import Task
from rebase_hf.teacher.asking import Asker, BudgetReached, TeacherIdentity, identify, open_teacher
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.target import Teacher

logger = logging.getLogger(__name__)

METHODS = (rebase.NAME,)
# How far a stream reads ahead of its consumer at first; it doubles as rows are taken, up to the concurrency.
FIRST_AHEAD = 4
GIVE_UP_AFTER = 600.0
# A worker that waits for another process says this often how far it needs it to go.
TELL_SECONDS = 1.0
# The modules that decide what a dataset holds: with other code in them, a run is another run.
DECIDING = (
    "rows", "labelled_rows", "task_file", "task", "features", "methods", "quality", "teacher/prompts",
    "teacher/templates", "teacher/few_shot", "embedding_model", "setfit_training", "leader", "decisions",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """All that decides which examples a run gives, and how it may spend.

    Attributes:
        num_examples: How many examples are wanted in all, those for validation included.
        options: The method's options.
        made_at: When it was made. A budget counts from here, in whichever processes the plan is executed.
    """

    task: Task
    index: RowIndex
    teacher: Teacher
    identity: TeacherIdentity
    method: str
    num_examples: int
    options: ReBaseOptions
    checks: CheckOptions
    seed: int = 0
    give_up_after: float = GIVE_UP_AFTER
    token: str | None = field(default=None, repr=False, compare=False)
    made_at: float = field(default_factory=time.time, compare=False)

    @cached_property
    def run_id(self) -> str:
        """A digest of everything that decides the examples; no address, key, concurrency or budget is in it."""
        content = {
            "task": self.task.fingerprint,
            "index": self.index.fingerprint,
            "teacher": [self.identity.model, self.identity.revision],
            "sampling": [self.teacher.temperature, self.teacher.max_tokens],
            "method": self.method,
            "options": asdict(self.options),
            "checks": asdict(self.checks),
            "num_examples": self.num_examples,
            "seed": self.seed,
            "code": code_fingerprint(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def session(self) -> str:
        """The call that the plan was made for; limits on requests, tokens and cost are a session's."""
        return repr(self.made_at)

    def __getstate__(self) -> dict[str, Any]:
        # No token goes into a pickle: workers find it where this process did, in their environment.
        return {k: v for k, v in self.__dict__.items() if k != "token"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, token=None)


@cache
def code_fingerprint() -> str:
    """Return a digest of the code that decides what a dataset holds, and of its prompt templates."""
    digest = hashlib.sha256(version("rebase-hf").encode())
    root = Path(str(files("rebase_hf")))
    for name in DECIDING:
        for path in sorted([*root.glob(f"{name}.py"), *root.glob(f"{name}/*.py"), *root.glob(f"{name}/*.jinja")]):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def make_plan(
    task: Task | Mapping[str, Any] | str | Path,
    index: "RowIndex | str | Path | Sequence[str]",
    teacher: Teacher | str,
    *,
    method: str = rebase.NAME,
    num_examples: int = 1000,
    seed: int = 0,
    options: ReBaseOptions | None = None,
    checks: CheckOptions | None = None,
    give_up_after: float = GIVE_UP_AFTER,
    token: str | None = None,
) -> Plan:
    """Check everything that can be checked before anything is paid, and return the plan.

    Raises:
        TaskError: The task, the method or the number of examples is wrong.
        RowIndexError: The index can't be opened, or holds no rows.
        TeacherError: The teacher can't be identified.
    """
    task = Task.load(task)
    if method not in METHODS:
        raise TaskError(f"Method `{method}` is not known; use one of {', '.join(METHODS)}.")
    if isinstance(num_examples, bool) or not isinstance(num_examples, int) or num_examples < 1:
        raise TaskError(f"num_examples is {num_examples!r}; expected a whole number from 1 on.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise TaskError(f"seed is {seed!r}; expected a whole number from 0 to {2**32 - 1}.")
    teacher = Teacher.of(teacher)
    opened = open_index(index)
    identity = identify(teacher, task, token)
    return Plan(
        task=task,
        index=opened,
        teacher=teacher,
        identity=identity,
        method=method,
        num_examples=num_examples,
        options=options or ReBaseOptions(),
        checks=checks or default_checks(task, teacher),
        seed=seed,
        give_up_after=give_up_after,
        token=token,
    )


def default_checks(task: Task, teacher: Teacher) -> CheckOptions:
    """Return the checks that a teacher's answers need; what only labels must be sure, and not of one label alone."""
    if teacher.kind != "few-shot" or not task.labels:
        return CheckOptions()
    return CheckOptions(confident_share=0.5, label_share=1.5 / len(task.labels))


def open_index(index: "RowIndex | str | Path | Sequence[str]") -> RowIndex:
    """Return an open index.

    Args:
        index: An index, its folder or Hub id, or a list of sources, from which one is built once and kept.
    """
    if isinstance(index, RowIndex):
        return index
    if isinstance(index, str | Path):
        return RowIndex.open(str(index))
    sources = [str(Path(source).resolve()) if Path(source).exists() else str(source) for source in index]
    name = hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:24]
    # A build that finds its sources unchanged keeps the index that is there.
    return RowIndex.build(rebase_home() / "indexes" / name, sources)


class Run:
    """A plan in execution, or executed: its examples, its ledger, its counts.

    Example:
        >>> run = Run(plan)                                                         # doctest: +SKIP
        >>> first = next(run.examples())                                            # doctest: +SKIP
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @property
    def id(self) -> str:
        """The run's id: the same for the same task, index, teacher, method, numbers, options and code."""
        return self.plan.run_id

    def examples(self, start: int = 0, stop: int | None = None, *, eager: bool = True) -> Iterator[Example]:
        """Yield the examples from position `start` to before `stop`, asking the teacher for what is not there yet.

        Args:
            eager: All of them will be wanted: ask as far ahead as the teacher takes. Otherwise little more is asked
                than is consumed, for streams of which only the beginning may be read.

        Raises:
            NoExamplesError: The run is over and not one example passed.
            TeacherError: The teacher refuses or has not answered for too long; a rerun goes on from there.
        """
        for _, record in self.records(start, stop, eager=eager):
            yield read_example(record)

    def records(self, start: int = 0, stop: int | None = None, *, eager: bool = True) -> Iterator[tuple[int, str]]:
        """Yield (position, record) as `examples` yields examples; `decisions.read_example` reads a record."""
        stop = self.plan.num_examples if stop is None else min(stop, self.plan.num_examples)
        decisions = Decisions.open(self.id)
        consumer = _Consumer(self.plan, decisions)
        position = start
        try:
            while position < stop:
                found = decisions.examples(position, min(500, stop - position))
                for position, record in found:
                    if not eager:
                        consumer.need(_stream_need(position, start, stop))
                    yield position, record
                    position += 1
                if found:
                    continue
                state = decisions.state()
                if state.complete or (state.stopped and state.session == self.plan.session):
                    # Decided between the read and the look at the state: read once more before leaving.
                    if decisions.examples(position, 1):
                        continue
                    self._check_not_empty(decisions, state)
                    return
                consumer.need(stop if eager else _stream_need(position, start, stop))
                consumer.wait()
            if stop == self.plan.num_examples:
                self.finish()  # what is in flight beyond the last example is paid for: let it be journalled
        finally:
            consumer.leave()
            decisions.close()

    def finish(self) -> None:
        """Wait until the leader of this process, if there is one, has written how the run ended."""
        with _LOCK:
            leader = _LEADERS.get(self.id)
        if leader is None:
            return
        leader.join()
        with _LOCK:
            # A failed one stays for the consumer that is still to raise what it failed with.
            if leader.error is None and _LEADERS.get(self.id) is leader:
                del _LEADERS[self.id]

    def interrupt(self) -> None:
        """Admit nothing more, wait for what is in flight to be journalled, and end."""
        with _LOCK:
            leader = _LEADERS.get(self.id)
        if leader is not None:
            leader.stop()
            leader.join()

    def tally(self) -> Tally:
        """Return the counts so far."""
        decisions = Decisions.open(self.id)
        try:
            return decisions.tally()
        finally:
            decisions.close()

    def state(self) -> RunState:
        """Return how the run stands."""
        decisions = Decisions.open(self.id)
        try:
            return decisions.state()
        finally:
            decisions.close()

    def usage(self) -> dict[str, Any]:
        """Return the requests and tokens used by this run, over all processes that took part."""
        decisions = Decisions.open(self.id)
        try:
            return decisions.usage()
        finally:
            decisions.close()

    def ledger(self) -> Iterator[dict[str, Any]]:
        """Yield a record for every row and output that is not an example."""
        decisions = Decisions.open(self.id)
        try:
            yield from decisions.ledger()
        finally:
            decisions.close()

    def statement(self) -> str:
        """Return one sentence that says what came out, and why it is fewer than asked for, where it is."""
        return outcome_statement(self.plan, self.tally(), self.state())

    def _check_not_empty(self, decisions: Decisions, state: RunState) -> None:
        tally = decisions.tally()
        if tally.examples:
            if tally.examples < self.plan.num_examples:
                logger.warning("%s", outcome_statement(self.plan, tally, state))
            return
        dropped = {**tally.dropped_before, **tally.dropped, **tally.quarantined}
        raise NoExamplesError(outcome_statement(self.plan, tally, state), dropped=dropped)


def _stream_need(position: int, start: int, stop: int) -> int:
    return min(stop, position + max(FIRST_AHEAD, 2 * (position - start)))


def outcome_statement(plan: Plan, tally: Tally, state: RunState) -> str:
    """Return one sentence on a run's outcome, for logs, reports and cards."""
    got = f"{tally.examples} of {plan.num_examples} examples"
    if tally.examples >= plan.num_examples:
        return f"{got}, from {tally.asked} answers about {tally.retrieved} retrieved rows."
    reasons = {**tally.dropped_before, **tally.dropped, **tally.quarantined}
    lost = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda x: (-x[1], x[0])))
    if state.stopped == "budget_reached":
        return f"{got}: the budget is reached. Raise the limit and run the same command again to go on from here."
    if state.stopped == "candidates_ran_out":
        return (
            f"{got}: all {tally.retrieved} retrieved rows are used up ({lost or 'none lost'}). "
            "Add sources to the index, raise max_per_source, or ask for fewer."
        )
    return f"{got} so far; run the same command again to go on from here."


def held_out(position: int, num_validation: int, total: int) -> bool:
    """Return whether the example at `position` is one of the validation split: exactly so many, evenly spread."""
    return (position + 1) * num_validation // total > position * num_validation // total


_LEADERS: dict[str, Leader] = {}
_CONSUMERS: dict[str, int] = {}
_LOCK = threading.Lock()


class _Consumer:
    """One reader of a run: leads when nobody does, and otherwise waits for who leads."""

    def __init__(self, plan: Plan, decisions: Decisions) -> None:
        self._plan, self._decisions = plan, decisions
        self._worker = uuid.uuid4().hex
        self._told = (-1, 0.0)
        self._attached = False

    def need(self, upto: int) -> None:
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

    def leave(self) -> None:
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
            leader = Leader(work_of(self._plan), self._plan.run_id, lambda: Decisions.open(self._plan.run_id), lease)
            _LEADERS[self._plan.run_id] = leader
            if not self._attached:
                self._attach()
            # Within the lock: another reader that finds it may join it.
            leader.start()
        return True


def work_of(plan: Plan) -> Work:
    """Return what a leader needs to execute a plan."""
    state: dict[str, Any] = {}

    def guard() -> EvaluationGuard:
        if "guard" not in state:
            state["guard"] = EvaluationGuard(plan.task, plan.task.evaluation_rows())
        return state["guard"]  # type: ignore[no-any-return]

    def drafts() -> Iterator[Draft | Dropped]:
        numbers = {"num_examples": plan.num_examples, "seed": plan.seed}
        return rebase.drafts(plan.task, plan.index, guard(), plan.options, **numbers)

    def gate() -> Gate:
        name = plan.identity.model + (f"@{plan.identity.revision[:12]}" if plan.identity.revision else "")
        numbers = {"num_examples": plan.num_examples, "seed": plan.seed}
        return Gate(plan.task, guard(), plan.checks, method=plan.method, teacher=name, **numbers)

    async def open_asker(journal: Journal, spent: Mapping[str, Any]) -> Asker:
        return await open_teacher(
            rest_of_budget(plan.teacher, spent),
            plan.task,
            journal,
            token=plan.token,
            give_up_after=plan.give_up_after,
            seed=plan.seed,
        )

    return Work(plan.task, drafts, gate, open_asker, plan.num_examples, session=plan.session)


def rest_of_budget(teacher: Teacher, spent: Mapping[str, Any]) -> Teacher:
    """Return the teacher with what is left of its limits, after what the plan has spent in other processes.

    Raises:
        BudgetReached: Nothing is left.
    """
    tokens = spent.get("prompt_tokens", 0) + spent.get("completion_tokens", 0)
    used = {"max_requests": spent.get("requests", 0), "max_tokens_total": tokens, "max_cost": spent.get("cost") or 0.0}
    left = {name: limit - used[name] for name in used if (limit := getattr(teacher, name)) is not None}
    for name, rest in left.items():
        if rest <= 0:
            raise BudgetReached(f"The limit {name}={getattr(teacher, name)} is reached.")
    return replace(teacher, **left)


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


@cache
def _guard_exit_and_fork() -> None:
    atexit.register(_stop_leaders)
    os.register_at_fork(after_in_child=_forget_leaders)


def generate(
    task: Task | Mapping[str, Any] | str | Path,
    index: "RowIndex | str | Path | Sequence[str]",
    teacher: Teacher | str,
    method: str = rebase.NAME,
    *,
    num_examples: int = 1000,
    seed: int = 0,
    options: ReBaseOptions | None = None,
    checks: CheckOptions | None = None,
) -> Iterator[Example]:
    """Return an iterator of examples of a task: rows are retrieved, transformed by the teacher, and checked.

    Every answer is journalled before it is used, so the same call again asks nothing twice, and goes on where an
    interrupted one stopped.

    Args:
        task: A Task, a dict, the path of a task file, or the id of a Hub dataset that holds one.
        index: A RowIndex, its folder or Hub id, or a list of sources to build one from.
        teacher: A Teacher, or its target: a URL, a model id, `local:...`, `few-shot`.
        num_examples: How many; fewer come, with a warning that says why, when candidates or the budget run out.

    Raises:
        TaskError, RowIndexError, TeacherError: What is asked for can't be done; raised here, before the first row.
        NoExamplesError: While iterating: not one example passed.
    """
    plan = make_plan(
        task, index, teacher, method=method, num_examples=num_examples, seed=seed, options=options, checks=checks
    )
    return Run(plan).examples()
