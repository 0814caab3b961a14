"""Cartography as a check of a whole set: embed it, map it, and say which examples are hard to learn."""

import logging
from collections.abc import Sequence

from rebase_hf.index.encoders import Encoder, encode_texts
from rebase_hf.quality.cartography import HARD, draw_map, keep_confident
from rebase_hf.quality.checks import Fields
from rebase_hf.quality.learning import FOLDS, training_dynamics
from rebase_hf.quality.whole_set import Verdict
from rebase_hf.task import Task

logger = logging.getLogger(__name__)

# Below this many examples a map of them says nothing: its folds have a handful of rows each.
FEWEST_MAPPED = 10 * FOLDS


def map_verdicts(
    task: Task, examples: Sequence[Fields], encoder: Encoder, *, share: float, seed: int = 0
) -> list[Verdict]:
    """Return what the map of a set says of each example, for `check_whole_set`; nothing where it can't be mapped.

    Args:
        examples: The task's fields of each.
        share: Of each label's examples, how many stay: those that a small learner is surest of.
    """
    labels = [fields[task.output] for fields in examples]
    if not task.labels:
        return []
    if len(examples) < FEWEST_MAPPED or len(set(labels)) < 2:
        logger.warning(
            "%d examples are too few to be mapped: cartography needs %d, of two labels at least. All stay.",
            len(examples),
            FEWEST_MAPPED,
        )
        return []
    vectors = encode_texts(encoder, [task.input_text(fields) for fields in examples])
    kept = keep_confident(draw_map(training_dynamics(vectors, labels, seed=seed)), labels, share=share)
    details = [reason[1] if reason else "" for reason in kept.reasons]
    return [Verdict(HARD, kept.mask.tolist(), details)]
