"""Which evaluation sets a run was kept apart from, and by which tests, as its report has it."""

import logging
from pathlib import Path
from typing import Any

from rebase_hf.errors import RebaseError
from rebase_hf.labelled_rows import RowsReference
from rebase_hf.plan import Plan
from rebase_hf.quality.contamination import MIN_CHARS, NGRAM, OWN_WORDS, SIMILAR
from rebase_hf.quality.duplicates import NEAR
from rebase_hf.quality.evaluation_sets import evaluation_set

logger = logging.getLogger(__name__)


def run_contamination(plan: Plan) -> dict[str, Any]:
    """Return what `report.json` says under `contamination`.

    `sets` has the name and the number of rows of each evaluation set, the task's own first. `before_asking`,
    `passages` and `outputs` have the tests that each of these had to pass, None where it was held to none. How many
    were left out stands under `dropped_before` and `dropped`.
    """
    sets = _sets(plan)
    words = {"words_in_a_row": NGRAM, "own_words": OWN_WORDS, "short_texts_from": MIN_CHARS}
    about, retrieves = plan.how.asks_about, plan.index is not None
    guarded = bool(sets) and getattr(plan.options, "guard_evaluation", True)
    before = None
    if guarded and (retrieves or about == "questions"):
        before = {"of": about, **words, "similarity": None if about == "questions" else SIMILAR}
    outputs = None
    if sets and plan.checks.guard_evaluation:
        outputs = {**words, "near_duplicate": NEAR, "similarity": plan.checks.similar_to_evaluation}
    return {
        "sets": sets,
        "before_asking": before,
        "passages": {**words, "similarity": SIMILAR} if guarded and retrieves and plan.how.gives_passages else None,
        "outputs": outputs,
        "own_family": bool(retrieves and getattr(plan.options, "exclude_family", False)),
    }


def _sets(plan: Plan) -> list[dict[str, Any]]:
    try:
        own = len(plan.evaluation_rows)
    except RebaseError as error:  # a finished run is written again where its evaluation set is gone
        logger.warning("How many rows the evaluation set has is not known any more: %s", error)
        own = None
    references = [] if plan.task.evaluation is None else [(plan.task.evaluation, own)]
    further = map(evaluation_set, plan.checks.evaluation_sets)
    references += [(one, len(rows)) for one, rows in zip(further, plan.further_evaluation_rows, strict=True)]
    return [{"name": _name(reference), "rows": rows} for reference, rows in references]


def _name(reference: RowsReference) -> str:
    """Return a set's address as a user writes it; of a local path the last part alone."""
    name = str(reference.dataset) if reference.path is None else Path(reference.path).name
    parts = ":".join([name, reference.config or "", reference.split or ""]).rstrip(":")
    return parts if reference.revision is None else f"{parts}@{reference.revision[:12]}"
