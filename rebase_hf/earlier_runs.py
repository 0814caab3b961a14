"""What earlier runs of a task tell of the next: how many of the answers passed, and whether they are asked again."""

import logging
from dataclasses import dataclass

from rebase_hf.decisions import Decisions, runs_folder
from rebase_hf.errors import JournalError

logger = logging.getLogger(__name__)

# Fewer outputs say little of the share that passes.
ENOUGH = 20


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A run that was begun before, as its decisions tell it.

    Attributes:
        outputs: Answers decided on; those beyond the number of examples asked for are not among them.
        examples: How many of them became examples.
        at: When it was led last, in seconds since 1970.
        seed: None where it was not written down.
    """

    run_id: str
    model: str
    outputs: int
    examples: int
    at: float
    seed: int | None = None


def earlier_runs(task: str, model: str | None = None) -> list[EarlierRun]:
    """Return the runs of a task, by its name, that a model was asked for, newest first; nothing is changed.

    Args:
        model: None for any.
    """
    found = []
    for path in runs_folder().glob("*.sqlite"):
        try:
            run = _read(path.stem, task, model)
        except JournalError as error:
            logger.debug("%s", error)  # what another run decided is a help here, and no need
        else:
            found += [run] if run is not None else []
    return sorted(found, key=lambda run: -run.at)


def _read(run_id: str, task: str, model: str | None) -> EarlierRun | None:
    decisions = Decisions.peek(runs_folder() / f"{run_id}.sqlite")
    if decisions is None:
        return None
    try:
        about = decisions.about()
        if about.get("task") != task or about.get("model") != (model or about.get("model")):
            return None
        tally = decisions.tally()
    finally:
        decisions.close()
    outputs = tally.outputs - tally.dropped.get("surplus", 0)
    return EarlierRun(run_id, about["model"], outputs, tally.examples, about["at"], about.get("seed"))
