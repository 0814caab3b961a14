"""Cartography as a check of a whole set: embed it, map it, and say which examples are hard to learn."""

import logging
from collections import Counter
from collections.abc import Sequence

from rebase_hf.index.encoders import Encoder, encode_texts
from rebase_hf.quality.cartography import CONTRADICTED, HARD, Kept, Map, draw_map, keep_confident, keep_uncontradicted
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.checks import Fields
from rebase_hf.quality.learning import FOLDS, training_dynamics
from rebase_hf.quality.whole_set import Verdict
from rebase_hf.task import Task

logger = logging.getLogger(__name__)

# The learner must spare so much of the errors that the most frequent label would make, to be believed against a label.
# Where it knows less, what it doubts is no oftener wrong than the rest (`python -m benchmarks.quality_removed`, which
# asks that of sets whose right answers are known).
LEAST_SPARED = 0.25
# Below this many examples a map of them says nothing: its folds have a handful of rows each.
FEWEST_MAPPED = 10 * FOLDS


def map_reasons(options: CheckOptions) -> list[str]:
    """Return what examples may be dropped for by their place on the map, in the order in which it is looked at."""
    asked = {HARD: options.cartography, CONTRADICTED: options.contradicted_odds}
    return [reason for reason, value in asked.items() if value is not None]


def map_verdicts(
    task: Task, examples: Sequence[Fields], options: CheckOptions, encoder: Encoder, *, seed: int = 0
) -> list[Verdict]:
    """Return what the map of a set says of each example, for `check_whole_set`; nothing where it can't be mapped.

    Args:
        examples: The task's fields of each.
        options: Of these, `cartography` and `contradicted_odds`.
    """
    labels = [fields[task.output] for fields in examples]
    if not task.labels or not map_reasons(options):
        return []
    if len(examples) < FEWEST_MAPPED or len(set(labels)) < 2:
        logger.warning(
            "%d examples are too few to be mapped: cartography needs %d, of two labels at least. All stay.",
            len(examples),
            FEWEST_MAPPED,
        )
        return []
    vectors = encode_texts(encoder, [task.input_text(fields) for fields in examples])
    found = draw_map(training_dynamics(vectors, labels, seed=seed))
    verdicts = []
    if options.cartography is not None:
        verdicts.append(_verdict(HARD, keep_confident(found, labels, share=options.cartography)))
    if options.contradicted_odds is not None and _believed(found, labels):
        verdicts.append(_verdict(CONTRADICTED, keep_uncontradicted(found, odds=options.contradicted_odds)))
    return verdicts


def _believed(found: Map, labels: Sequence[str]) -> bool:
    """Whether the learner, on rows that it never saw, knows enough of the labels to speak against one."""
    most = max(Counter(labels).values()) / len(labels)
    right = float(found.correctness.mean())
    spared = (right - most) / (1 - most)
    if spared < LEAST_SPARED:
        logger.warning(
            "A small learner finds the label of %.0f %% of %d examples, the most frequent label is that of %.0f %%: "
            "it knows too little to contradict any. All stay.",
            100 * right,
            len(labels),
            100 * most,
        )
    return spared >= LEAST_SPARED


def _verdict(reason: str, kept: Kept) -> Verdict:
    return Verdict(reason, kept.mask.tolist(), [told[1] if told else "" for told in kept.reasons])
