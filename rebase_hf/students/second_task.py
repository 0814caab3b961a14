"""A second task for a student that writes: the loss is the answer's plus a weight times the rationale's.

Distilling step by step (arXiv 2305.02301, section 3.2) adds the two losses of a batch, each a mean over its own
tokens, so that long rationales do not drown short answers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

SECOND = "second_"
# Where a row keeps its second task's features.
KEY = "second"


def with_second_task(trainer_class: Any, weight: float) -> Any:
    """Return a Trainer class whose loss is the first task's plus `weight` times the second's."""

    class TwoTasks(trainer_class):  # type: ignore[misc]
        """A Trainer that runs the model twice a step."""

        # Both losses are means over their tokens: nothing divides them before the Trainer does.
        loss_is_scaled_for_ga = False

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            """Return the sum of both losses; a batch in which no row has a second task has the first alone."""
            second = {name.removeprefix(SECOND): inputs.pop(name) for name in list(inputs) if name.startswith(SECOND)}
            outputs = model(**inputs)
            loss = outputs.loss
            if second:
                loss = loss + weight * model(**second).loss
            return (loss, outputs) if return_outputs else loss

    return TwoTasks


def collating_both(collator: Any) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]:
    """Return a collator that pads each task's features by themselves."""

    def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        first = collator([{name: value for name, value in row.items() if name != KEY} for row in rows])
        second = [dict(row[KEY]) for row in rows if row.get(KEY)]
        padded = collator(second) if second else {}
        return {**first, **{SECOND + name: value for name, value in padded.items()}}

    return collate
