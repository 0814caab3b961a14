"""generate(): retrieve, draft, ask, check; and what a run is, to the last count.

Plan ─► Run.examples() ─► Example, Example, ...
│ one process leads (leader.py): drafts of the method ─► teacher ─► gate ─► decisions on disk
└ every consumer, in this process or another, reads the decisions
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.consumers import Consumer, await_leader, stop_leader
from rebase_hf.decisions import Decisions
from rebase_hf.errors import JournalError, NoExamplesError
from rebase_hf.finished_set import finish_set, looks_at_whole_set
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.consulting import Consultant
from rebase_hf.methods.rebase import NAME as REBASE
from rebase_hf.outcomes import RunState, Tally, read_example
from rebase_hf.plan import Plan, make_plan
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.rows import Example
from rebase_hf.task import Task
from rebase_hf.teacher.target import Teacher

logger = logging.getLogger(__name__)

# How far a stream reads ahead of its consumer at first; it doubles as rows are taken, up to the concurrency.
FIRST_AHEAD = 4


class Run:
    """A plan in execution, or executed: its examples, its ledger, its counts.

    Example:
        >>> run = Run(plan)                                                         # doctest: +SKIP
        >>> first = next(run.examples())                                            # doctest: +SKIP
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        # Of the decisions that examples are given out from; where some were, no other generation will do.
        self._generation: int | None = None
        self._given_out = False

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
        """Yield (position, record) as `examples` yields examples; `decisions.read_example` reads a record.

        Raises:
            JournalError: Examples that were given out before have been decided anew since.
        """
        try:
            yield from self._records(start, stop, eager=eager, give_out=True)
        except KeyboardInterrupt:
            # Of a notebook's cell, of a script: nothing more is asked, and what is in flight is paid for.
            try:
                self.interrupt()
            finally:  # a second interrupt ends the wait, and is told how far it got as well
                logger.warning("%s", self.statement())
            raise

    def execute(self) -> Iterator[int]:
        """Yield the positions of the examples as they are decided, for whoever reads them when all are there."""
        for position, _ in self._records(0, None, eager=True, give_out=False):
            yield position

    def _records(self, start: int, stop: int | None, *, eager: bool, give_out: bool) -> Iterator[tuple[int, str]]:
        stop = self.plan.num_examples if stop is None else min(stop, self.plan.num_examples)
        decisions = Decisions.open(self.id)
        consumer = Consumer(self.plan, decisions)
        position = start
        try:
            while position < stop:
                found = decisions.examples(position, min(500, stop - position))
                if give_out and not self._same_generation(decisions):
                    continue
                self._given_out |= give_out and bool(found)
                waiting = bool(found) and not eager and not decisions.state().complete
                for position, record in found:
                    if waiting:
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

    def _same_generation(self, decisions: Decisions) -> bool:
        """Whether what was just read is to be given out; if not, it is to be read again."""
        now = decisions.generation()
        if now == self._generation:
            return True
        if self._given_out:
            raise JournalError(
                f"Run {self.id[:12]} was decided anew while its examples were read, since the journal lost or changed "
                "an answer: those read before and after do not belong together. Run the same command again."
            )
        self._generation = now
        return False

    def finish(self) -> None:
        """Wait until the leader of this process, if there is one, has written how the run ended."""
        await_leader(self.id)

    def interrupt(self) -> None:
        """Admit nothing more, wait for what is in flight to be journalled, and end."""
        stop_leader(self.id)

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
            # Once a call, however many splits, shards and workers come to the end of what there is.
            if tally.examples < self.plan.num_examples and decisions.first_to_say(self.plan.session):
                logger.warning("%s", outcome_statement(self.plan, tally, state))
            return
        dropped = {**tally.dropped_before, **tally.dropped, **tally.quarantined}
        raise NoExamplesError(outcome_statement(self.plan, tally, state), dropped=dropped)


def _stream_need(position: int, start: int, stop: int) -> int:
    return min(stop, position + max(FIRST_AHEAD, 2 * (position - start)))


def outcome_statement(plan: Plan, tally: Tally, state: RunState) -> str:
    """Return one sentence on a run's outcome, for logs, reports and cards."""
    got = f"{tally.examples:,} of {plan.num_examples:,} examples"
    about = f"{tally.retrieved:,} {plan.how.asks_about}"
    if tally.examples >= plan.num_examples:
        return f"{got}, from {tally.asked:,} {'answers about' if plan.how.needs_teacher else 'of'} {about}."
    reasons = {**tally.dropped_before, **tally.dropped, **tally.quarantined}
    lost = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=lambda x: (-x[1], x[0])))
    if state.stopped == "budget_reached":
        return f"{got}: the budget is reached. Raise the limit and run the same command again to go on from here."
    if state.stopped == "candidates_ran_out":
        return f"{got}: all {about} are used up ({lost or 'none lost'}). {_advice(plan)}"
    return f"{got} so far; run the same command again to go on from here."


def _advice(plan: Plan) -> str:
    """Return what gives more examples."""
    if plan.how.asks_about == "texts to write":
        return "Raise the option patience, give the task more examples or attributes, or ask for fewer."
    if plan.how.asks_about == "questions":
        return "Give the task more `train` rows, raise the option rationales, or ask for fewer."
    return "Add sources to the index, raise max_per_source, or ask for fewer."


def held_out(position: int, num_validation: int, total: int) -> bool:
    """Return whether the example at `position` is one of the validation split: exactly so many, evenly spread."""
    return (position + 1) * num_validation // total > position * num_validation // total


def generate(
    task: Task | Mapping[str, Any] | str | Path,
    index: "RowIndex | str | Path | Sequence[str] | None",
    teacher: Teacher | str,
    method: str = REBASE,
    *,
    num_examples: int = 1000,
    seed: int = 0,
    options: Any = None,
    checks: CheckOptions | Mapping[str, Any] | None = None,
    consult: Consultant | None = None,
) -> Iterator[Example]:
    """Return an iterator of examples of a task: rows are retrieved, transformed by the teacher, and checked.

    Every answer is journalled before it is used, so the same call again asks nothing twice, and goes on where an
    interrupted one stopped.

    Args:
        task: A Task, a dict, the path of a task file, or the id of a Hub dataset that holds one.
        index: A RowIndex, its folder or Hub id, or a list of sources to build one from; None for a method that
            retrieves nothing.
        teacher: A Teacher, or its target: a URL, a model id, `local:...`, `few-shot`, `none`.
        method: `rebase`, `synthesizrr`, `kard`, `fewgen` or `retrieved`.
        options: The method's options: an object of its options' class, or a dict.
        checks: Which checks an answer must pass: CheckOptions, or a dict; None for those that fit task and teacher.
            With one that looks at the whole set, nothing comes before the last answer.
        consult: A trained student whose label and confidence go into the teacher's prompts, as
            `rebase_hf.students.consulting.consult_student(RUN)` gives it.
        num_examples: How many; fewer come, with a warning that says why, when candidates or the budget run out.

    Raises:
        TaskError, RowIndexError, TeacherError: What is asked for can't be done; raised here, before the first row.
        NoExamplesError: While iterating: not one example passed.
    """
    plan = make_plan(
        task,
        index,
        teacher,
        method=method,
        num_examples=num_examples,
        seed=seed,
        options=options,
        checks=checks,
        consult=consult,
    )
    return _whole(plan) if looks_at_whole_set(plan.checks) else Run(plan).examples()


def _whole(plan: Plan) -> Iterator[Example]:
    """Yield what stays of all examples once they are there."""
    yield from finish_set(plan, list(Run(plan).records())).checked.kept
