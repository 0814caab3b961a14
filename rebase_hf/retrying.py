"""Ask a run's failed outputs again, and nothing else."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from filelock import Timeout

from rebase_hf.decisions import Decisions
from rebase_hf.errors import JournalError
from rebase_hf.failed_before import check_again, failed_outputs
from rebase_hf.plan import Plan, check_before_paying
from rebase_hf.rehearsal import Rehearsal
from rebase_hf.teacher.journal import Journal


@dataclass(frozen=True, slots=True)
class Retried:
    """What `retry_failed` did.

    Attributes:
        again: Outputs whose failures are forgotten, so that they are asked again.
        meanwhile: Failed outputs of the run that another run has asked again since; they are decided anew.
    """

    again: int = 0
    meanwhile: int = 0


def retry_failed(plan: Plan) -> Retried:
    """Forget what failed of a plan's questions, so that executing it asks that again.

    Failed is what the journal holds now of the rows that the plan comes to and that would end in quarantine: requests
    without an answer, and answers that could not be read, nor could their repair. Of the latter, question and repairs
    are all forgotten, since a repair is asked about an answer that is worth mending. Whichever run failed with them:
    with another number of examples, or after an update of the code, a run has another id, and asks the same. An answer
    that another run has got since is kept, and used.

    A run that has failed outputs is taken back, to be decided anew: all else is in the journal, so that the server
    sees only what failed and what was never asked. Until it is executed, the run has no examples.

    Raises:
        JournalError: Another process leads the run, or the disk can't be written to.
        RebaseError: The journal holds none of the plan's questions, so that there is nothing to ask again; or the run
            can't be executed.
    """
    failed = failed_outputs(plan)
    if plan.teacher.kind in ("few-shot", "none") or (not failed and Decisions.finished(plan.run_id)):
        return Retried()  # what is trained here fails for want of text, and costs nothing
    check_before_paying(plan)
    with ExitStack() as stack:
        decisions = None if failed is None else stack.enter_context(_leading(plan))
        rehearsed = _rehearse(plan)
        check_again(plan, rehearsed, failed)
        decisions = decisions or stack.enter_context(_leading(plan))
        # Cut short after this, the same command finds the same failures in the journal, and goes on.
        if failed:
            decisions.forget()
        again = _forget(rehearsed)
    return Retried(sum(again.values()), sum(key not in again for key in failed or ()))


def _rehearse(plan: Plan) -> Rehearsal:
    journal = Journal.peek()
    try:
        # As the leader asks, so that what it comes to is walked through: as if every answer passed.
        rehearsed = Rehearsal(plan, journal, (1.0, "supposed"))
        rehearsed.go()
    finally:
        if journal is not None:
            journal.close()
    return rehearsed


def _forget(rehearsed: Rehearsal) -> dict[str, bool]:
    """Forget what failed; return the requests forgotten, each with whether it is the last about its row."""
    if not rehearsed.failed:
        return {}
    journal = Journal.open()
    try:
        # The walk may have taken a while: what another run got an answer to since is paid for.
        failed = [row for row in rehearsed.failed if all(journal.get(key) == held for key, held in row.items())]
        forgotten = {key: key == list(row)[-1] for row in failed for key in row}
        journal.forget(forgotten)
        return forgotten
    finally:
        journal.close()


@contextmanager
def _leading(plan: Plan) -> Iterator[Decisions]:
    """Open a run's decisions as the one who leads it."""
    decisions = Decisions.open(plan.run_id)
    try:
        lease = decisions.lease()
        try:
            lease.acquire(timeout=0)
        except Timeout:
            raise JournalError(
                f"Run {plan.run_id[:12]} is led by {decisions.holder()}. Wait until it ends, or stop it; then run the "
                "same command again."
            ) from None
        try:
            yield decisions
        finally:
            lease.release()
    finally:
        decisions.close()
