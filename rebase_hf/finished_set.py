"""The whole-set checks of a run that is over: which of its examples stay, once all of them can be seen."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rebase_hf.index.encoders import Encoder, encode_texts, load_encoder
from rebase_hf.outcomes import read_example
from rebase_hf.plan import Plan
from rebase_hf.quality.cartography import draw_map, keep_confident
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.learning import FOLDS, training_dynamics
from rebase_hf.quality.whole_set import Verdict, WholeSet, check_whole_set
from rebase_hf.rows import Example

logger = logging.getLogger(__name__)

# Below this many examples a map of them says nothing: its folds have a handful of rows each.
FEWEST_MAPPED = 10 * FOLDS


@dataclass(frozen=True)
class FinishedSet:
    """A run's examples with what the whole-set checks say of them.

    Attributes:
        positions: The position of each example in the run, in order.
        examples: The examples themselves.
        checked: What stays and what goes, by place in these.
    """

    positions: tuple[int, ...]
    examples: tuple[Example, ...]
    checked: WholeSet

    @cached_property
    def dropped(self) -> dict[str, int]:
        """How many went, by reason."""
        return dict(Counter(one.reason for one in self.checked.dropped.values()))

    @cached_property
    def kept(self) -> frozenset[int]:
        """The positions of the examples that stay."""
        return frozenset(self.positions[place] for place in self.checked.places)


def looks_at_whole_set(options: CheckOptions) -> bool:
    """Return whether any check needs all examples: then nothing can be given out before the run is over."""
    return bool(
        options.semantic_duplicates is not None
        or options.similar_to_evaluation is not None
        or options.balance
        or options.cartography is not None
    )


def finish_set(plan: Plan, records: Sequence[tuple[int, str]]) -> FinishedSet:
    """Return a run's examples, checked as a whole.

    Args:
        records: All examples of the run, by position.
    """
    examples = tuple(read_example(record) for _, record in records)
    encoder = _encoder(plan) if looks_at_whole_set(plan.checks) and examples else None
    verdicts = [] if encoder is None else _verdicts(plan, examples, encoder)
    checked = check_whole_set(
        plan.task, examples, plan.checks, guard=plan.guard, encoder=encoder, verdicts=verdicts, seed=plan.seed
    )
    return FinishedSet(tuple(position for position, _ in records), examples, checked)


def _encoder(plan: Plan) -> Encoder:
    return load_encoder() if plan.index is None else plan.index.encoder


def _verdicts(plan: Plan, examples: Sequence[Example], encoder: Encoder) -> list[Verdict]:
    """Return what the map of the examples says of each (dataset cartography)."""
    share, task = plan.checks.cartography, plan.task
    labels = [example.fields[task.output] for example in examples]
    if share is None or not task.labels:
        return []
    if len(examples) < FEWEST_MAPPED or len(set(labels)) < 2:
        logger.warning(
            "%d examples are too few to be mapped: cartography needs %d, of two labels at least. All stay.",
            len(examples),
            FEWEST_MAPPED,
        )
        return []
    vectors = encode_texts(encoder, [task.input_text(example.fields) for example in examples])
    kept = keep_confident(draw_map(training_dynamics(vectors, labels, seed=plan.seed)), labels, share=share)
    details = [reason[1] if reason else "" for reason in kept.reasons]
    return [Verdict("hard_to_learn", kept.mask.tolist(), details)]
