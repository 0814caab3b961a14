"""The whole-set checks of a run that is over: which of its examples stay, once all of them can be seen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rebase_hf.index.encoders import Encoder, load_encoder
from rebase_hf.outcomes import read_example
from rebase_hf.plan import Plan
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.mapped import map_reasons, map_verdicts
from rebase_hf.quality.whole_set import WholeSet, check_whole_set
from rebase_hf.rows import Example


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
        or map_reasons(options)
    )


def finish_set(plan: Plan, records: Sequence[tuple[int, str]]) -> FinishedSet:
    """Return a run's examples, checked as a whole.

    Args:
        records: All examples of the run, by position.
    """
    examples = tuple(read_example(record) for _, record in records)
    encoder = _encoder(plan) if looks_at_whole_set(plan.checks) and examples else None
    fields = [example.fields for example in examples]
    verdicts = [] if encoder is None else map_verdicts(plan.task, fields, plan.checks, encoder, seed=plan.seed)
    checked = check_whole_set(
        plan.task, examples, plan.checks, guard=plan.guard, encoder=encoder, verdicts=verdicts, seed=plan.seed
    )
    return FinishedSet(tuple(position for position, _ in records), examples, checked)


def _encoder(plan: Plan) -> Encoder:
    return load_encoder() if plan.index is None else plan.index.encoder
