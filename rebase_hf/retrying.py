"""Ask a run's failed outputs again, and nothing else."""

from collections.abc import Iterator

from filelock import Timeout

from rebase_hf.decisions import Decisions
from rebase_hf.errors import JournalError
from rebase_hf.plan import Plan, check_before_paying
from rebase_hf.rows import Completion
from rebase_hf.teacher.asking import content_key, first_question
from rebase_hf.teacher.journal import Journal


def retry_failed(plan: Plan) -> int:
    """Forget what failed in a run, so that executing it asks that again; return how many outputs that are.

    Failed are the outputs in quarantine: requests without an answer, and answers that could not be read, nor could
    their repair. Of the latter, question and repair are both forgotten, since a repair is asked about an answer that
    is worth mending. The run's decisions are taken back, to be decided anew: everything else is in the journal, so
    that the server sees only what failed. Until it is executed, the run has no examples.

    Raises:
        JournalError: Another process leads the run, or the disk can't be written to.
        RebaseError: The run can't be executed.
    """
    if not Decisions.exist(plan.run_id):
        return 0
    check_before_paying(plan)
    decisions = Decisions.open(plan.run_id)
    lease = decisions.lease()
    try:
        lease.acquire(timeout=0)
    except Timeout:
        holder = decisions.holder()
        decisions.close()
        raise JournalError(
            f"Run {plan.run_id[:12]} is led by {holder}. Wait until it ends, or stop it; then run the same command "
            "again."
        ) from None
    journal = Journal.open()
    try:
        failed = [e["key"] for e in decisions.ledger() if e["outcome"] == "quarantined" and e["key"]]
        # The journal first: cut short here, the same command finds the same outputs failed, and goes on.
        journal.forget([key for failure in failed for key in _questions(journal, failure)])
        if failed:
            decisions.forget()
        return len(failed)
    finally:
        journal.close()
        lease.release()
        decisions.close()


def _questions(journal: Journal, key: str) -> Iterator[str]:
    """Yield the keys of what must be asked again, given the last request about a row."""
    yield key
    request = journal.request(key)
    if request is not None and request["repair"] and isinstance(journal.get(key), Completion):
        yield content_key(first_question(request))
