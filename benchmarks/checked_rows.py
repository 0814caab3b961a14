"""Recorded rows put to the checks, as a run puts its answers to them: the gate first, then those of the whole set.

What is measured is what `generate` with these CheckOptions keeps; the functions are the pipeline's own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rebase_hf.index.encoders import Encoder
from rebase_hf.quality.cartography import ODDS, SHARE
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.contamination import SIMILAR, EvaluationGuard
from rebase_hf.quality.gate import Gate
from rebase_hf.quality.mapped import map_verdicts
from rebase_hf.quality.repeats import SEMANTIC
from rebase_hf.quality.whole_set import WholeSet, check_whole_set
from rebase_hf.rows import Completion, Draft, Dropped, Example
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Parsed

OFF = CheckOptions(near_duplicates=None, guard_evaluation=False, refusals=False, length_factor=None, language=False)
_ANSWER = Completion("key", "", "stop", "recorded")


def all_checks(task: Task) -> CheckOptions:
    """Return the checks that are measured: the gate's own, and what looks at meaning, labels' shares and the map."""
    return CheckOptions(
        label_share=1.5 / len(task.labels),
        semantic_duplicates=SEMANTIC,
        similar_to_evaluation=SIMILAR,
        contradicted_odds=ODDS,
    )


def published_checks(task: Task) -> CheckOptions:
    """Return them with SynthesizRR's share in place of odds, and labels cut to equal shares."""
    return replace(all_checks(task), label_share=None, balance=True, contradicted_odds=None, cartography=SHARE)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks leave of a set.

    Attributes:
        rows: What stays, in order.
        dropped: How many went, by reason.
    """

    rows: list[dict[str, str]]
    dropped: Mapping[str, int]


class Checks:
    """The checks of one task, which read its evaluation set once.

    Args:
        held_out: The rows that must not be learnt from; the task's evaluation rows, or others in their place.
    """

    def __init__(self, task: Task, held_out: Sequence[Mapping[str, str]], encoder: Encoder) -> None:
        self._task, self._encoder = task, encoder
        self._guard = EvaluationGuard(task, held_out)

    def __call__(self, rows: Sequence[Mapping[str, str]], options: CheckOptions, *, seed: int) -> Checked:
        """Return what stays of rows in the order in which they were answered."""
        gate = Gate(
            self._task, self._guard, options, method="rebase", teacher="recorded", num_examples=len(rows), seed=seed
        )
        decided = [gate.decide(Draft((), None), _ANSWER, Parsed(row)) for row in rows]
        dropped = Counter(one.reason for one in decided if isinstance(one, Dropped))
        examples = [one for one in decided if isinstance(one, Example)]
        checked = self._whole(examples, options, seed)
        dropped.update(one.reason for one in checked.dropped.values())
        return Checked([dict(one.fields) for one in checked.kept], dict(dropped))

    def _whole(self, examples: Sequence[Example], options: CheckOptions, seed: int) -> WholeSet:
        task, encoder = self._task, self._encoder
        verdicts = map_verdicts(task, [one.fields for one in examples], options, encoder, seed=seed)
        return check_whole_set(
            task, examples, options, guard=self._guard, encoder=encoder, verdicts=verdicts, seed=seed
        )
