"""The diversity report of a run, taken when its dataset is written."""

import logging
from collections.abc import Sequence
from typing import Any

from rebase_hf.errors import RebaseError
from rebase_hf.index.encoders import encode_texts
from rebase_hf.plan import Plan
from rebase_hf.quality.diversity import MIN_ROWS, ROWS, Encode, diversity_report

logger = logging.getLogger(__name__)

# Encoding takes longest by far: so many texts of either side, each so long, take seconds with a small encoder on one
# core (`python -m benchmarks.quality_insight`).
ENCODED_ROWS = 200
ENCODED_CHARS = 400


def run_diversity(plan: Plan, texts: Sequence[str], sources: Sequence[str | None]) -> dict[str, Any] | None:
    """Return what `report.json` says under `diversity`; None of fewer than 20 examples.

    Taken of 1,000 examples at most. What needs vectors is taken of 200 of them, each cut to 400 characters, with the
    index's encoder, and left out where there is no index. Nothing of it changes the dataset.

    Args:
        texts: The examples' inputs.
        sources: For each the dataset of the row that it was made from.
    """
    if len(texts) < MIN_ROWS:
        return None
    encode = _encoder(plan)
    return diversity_report(
        texts,
        sources=[source or "" for source in sources] if any(sources) else None,
        encode=encode,
        evaluation=[] if encode is None else _evaluation_texts(plan),
        rows=ROWS,
        vector_rows=ENCODED_ROWS,
        seed=plan.seed,
    ).to_report()


def _encoder(plan: Plan) -> Encode | None:
    if plan.index is None:
        return None
    try:
        encoder = plan.index.encoder
    except RebaseError as error:  # the examples are there and paid for: a figure about them is left out
        logger.warning("The diversity report has no similarities: %s", error)
        return None
    return lambda texts: encode_texts(encoder, [text[:ENCODED_CHARS] for text in texts])


def _evaluation_texts(plan: Plan) -> list[str]:
    try:
        return [plan.task.input_text(row) for row in plan.evaluation_rows]
    except RebaseError as error:  # a finished run is written again where its evaluation set is gone
        logger.warning("The diversity report does not compare with the evaluation texts: %s", error)
        return []
