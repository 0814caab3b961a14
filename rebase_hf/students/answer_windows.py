"""The windows in which an extractive student reads a text, and where in them the answer stands."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rebase_hf.errors import StudentError
from rebase_hf.students.student import TrainingRow
from rebase_hf.task import Task


def context_field(task: Task) -> str:
    """Return the input that answers stand in: the one where most examples have theirs, of equals the longest."""

    def evidence(name: str) -> tuple[int, int]:
        holding = sum(example[task.output] in example[name] for example in task.examples)
        return holding, sum(len(example[name]) for example in task.examples)

    return max(task.inputs, key=evidence)


def split_inputs(task: Task, row: Mapping[str, str]) -> tuple[str, str]:
    """Return question and context: the other inputs (failing any, the instruction), and what answers stand in."""
    context = context_field(task)
    others = [row[name] for name in task.inputs if name != context]
    return "\n".join(others) or task.instruction, row[context]


def text_windows(tokenizer: Any, question: str, context: str, longest: int) -> list[dict[str, Any]]:
    """Return the overlapping windows of a text; in `offset_mapping` only the context's tokens have a place."""
    # A question may take at most a third of a window, so that every window has room for text.
    kept = tokenizer(question, truncation=True, max_length=longest // 3, return_offsets_mapping=True)["offset_mapping"]
    encoded = tokenizer(
        question[: max(end for _, end in kept)],
        context,
        truncation="only_second",
        max_length=longest,
        stride=longest // 3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    encoded.pop("overflow_to_sample_mapping")
    windows = [
        {name: values[number] for name, values in encoded.items()} for number in range(len(encoded["input_ids"]))
    ]
    for number, window in enumerate(windows):
        parts = encoded.sequence_ids(number)
        window["offset_mapping"] = [
            place if part == 1 else None for place, part in zip(window["offset_mapping"], parts, strict=True)
        ]
    return windows


def shown_windows(
    task: Task, tokenizer: Any, rows: Sequence[TrainingRow], *, max_length: int, count: int, seed: int
) -> list[dict[str, Any]]:
    """Return exactly `count` windows: those of all rows in a shuffled order, again and again.

    Rows are drawn before they are prepared, each once; a row whose answer is somewhere else than in its text teaches
    nothing, and is not drawn. Of a long text come the windows with the answer and one of the others, drawn anew each
    time: a few texts of fifty windows would else be all that is shown.

    Raises:
        StudentError: In no row does the answer stand in the text.
    """
    field = context_field(task)
    useful = [row.fields for row in rows if row.fields[task.output] in row.fields[field]]
    if not any(row[task.output] for row in useful):
        raise StudentError(
            f"Task `{task.name}`: in none of {len(rows)} rows does `{task.output}` stand in `{field}`, so there is no "
            "span to learn from."
        )
    chance = np.random.default_rng(seed)
    prepared: dict[int, list[dict[str, Any]]] = {}
    shown: list[dict[str, Any]] = []
    while len(shown) < count:
        windows: list[dict[str, Any]] = []
        for place in chance.permutation(len(useful)).tolist():
            if len(shown) + len(windows) >= count:
                break
            if place not in prepared:
                prepared[place] = row_windows(task, tokenizer, useful[place], max_length)
            windows += _drawn(prepared[place], chance)
        # Of a long text several windows come at once; they are not to share a batch.
        shown += [windows[place] for place in chance.permutation(len(windows)).tolist()]
    return shown[:count]


def _drawn(windows: list[dict[str, Any]], chance: np.random.Generator) -> list[dict[str, Any]]:
    """Return the windows that have the answer, and one of those that have not."""
    having = [window for window in windows if window["end_positions"]]
    others = [window for window in windows if not window["end_positions"]]
    return having + ([others[int(chance.integers(len(others)))]] if others else [])


def row_windows(task: Task, tokenizer: Any, row: Mapping[str, str], max_length: int) -> list[dict[str, Any]]:
    """Return a row's windows with the places of the answer's first and last token; (0, 0) where it is not in one."""
    question, context = split_inputs(task, row)
    answer = row[task.output]
    begin = context.find(answer)
    end = begin + len(answer)
    features = []
    for window in text_windows(tokenizer, question, context, max_length):
        offsets = window.pop("offset_mapping")
        inside = [t for t, place in enumerate(offsets) if answer and place and place[0] < end and place[1] > begin]
        whole = inside and offsets[inside[0]][0] <= begin and offsets[inside[-1]][1] >= end
        window["start_positions"], window["end_positions"] = (inside[0], inside[-1]) if whole else (0, 0)
        features.append(window)
    return features
