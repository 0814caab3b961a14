"""What failed of a run before, and whether asking it again is what was meant."""

import time

from rebase_hf.decisions import Decisions, runs_folder
from rebase_hf.earlier_runs import earlier_runs
from rebase_hf.errors import RebaseError
from rebase_hf.plan import Plan
from rebase_hf.rehearsal import Rehearsal


def failed_outputs(plan: Plan) -> list[str] | None:
    """Return the keys of the requests that a run's outputs in quarantine failed with; None if it was never begun."""
    decisions = Decisions.peek(runs_folder() / f"{plan.run_id}.sqlite")
    if decisions is None:
        return None
    try:
        return [entry["key"] for entry in decisions.ledger() if entry["outcome"] == "quarantined" and entry["key"]]
    finally:
        decisions.close()


def check_again(plan: Plan, rehearsed: Rehearsal, failed: list[str] | None) -> None:
    """Check that asking again what failed is not to ask a whole run, of a mistyped command or without its journal.

    Args:
        failed: What `failed_outputs` says of the run.

    Raises:
        RebaseError: The journal holds none of the run's questions.
    """
    if rehearsed.held or failed == []:
        return
    model, name = plan.identity.model, plan.task.name
    begun = "was never begun here" if failed is None else "lost its answers"
    others = [run for run in earlier_runs(name) if run.run_id != plan.run_id]
    told = f"No other run of task `{name}` is known here."
    if others:
        run = min(others, key=lambda run: run.model != model)  # the newest, of this model if there is one
        about = [f"by {run.model}", f"{run.examples} examples"]
        about += [f"--seed {run.seed}"] if run.seed is not None else []
        about.append(f"begun on {time.strftime('%Y-%m-%d at %H:%M', time.localtime(run.at))}")
        told = f"The nearest other run of task `{name}` is {run.run_id[:12]} ({', '.join(about)})."
    raise RebaseError(
        f"Nothing can be asked again: run {plan.run_id[:12]} {begun}, and the journal holds none of its questions to "
        f"{model}. {told} Expected a run that was asked before: mend what differs (task, index, teacher, options), or "
        "leave --retry-failed out, to pay for all of it."
    )
