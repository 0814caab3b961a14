"""What to search for next, by what the student says of rows, and which of what is found is new."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rebase_hf.quality.duplicates import NearDuplicates, shared_shingles
from rebase_hf.rows import Example
from rebase_hf.students.row_figures import RowFigures
from rebase_hf.task import Task


def choose_queries(figures: RowFigures, count: int, easy_share: float, seed: Sequence[int]) -> dict[int, str]:
    """Return the rows to search for, by their numbers, each with why it was chosen.

    A share is easy: drawn from what the student gets right. Of the others one half are errors, drawn at random (the
    worst of them are often wrong labels, and the same every round), and the rest what it is least certain of.
    """
    chance = np.random.default_rng(list(seed))
    count = min(count, len(figures.gold))
    easy = round(easy_share * count)
    wrong, right = np.flatnonzero(~figures.correct), np.flatnonzero(figures.correct)
    errors = chance.permutation(wrong)[: -(-(count - easy) // 2)].tolist()
    doubtful = np.argsort(figures.margin, kind="stable").tolist()
    uncertain = [row for row in doubtful if row not in set(errors)][: count - easy - len(errors)]
    taken = {*errors, *uncertain}
    rest = [row for row in chance.permutation(right).tolist() if row not in taken][:easy]
    return {**dict.fromkeys(errors, "error"), **dict.fromkeys(uncertain, "uncertain"), **dict.fromkeys(rest, "easy")}


def without_repeats(
    task: Task,
    examples: Sequence[Example],
    training: Sequence[Mapping[str, str]],
    development: Sequence[Mapping[str, str]],
) -> tuple[list[Example], Counter[str]]:
    """Return the examples that repeat no row trained on or asked about, and how many repeat one, by which."""
    form = frozenset[str]().union(*(shared_shingles(row[name] for row in task.examples) for name in task.inputs))
    known = {"repeats_training_row": training, "repeats_development_row": development}
    seen = {reason: NearDuplicates(form=form) for reason in known}
    for reason, rows in known.items():
        for row in rows:
            seen[reason].add(*(row[name] for name in task.inputs))
    kept, repeated = [], Counter[str]()
    for example in examples:
        texts = [example.fields[name] for name in task.inputs]
        repeats = [reason for reason, rows in seen.items() if rows.find(*texts) is not None]
        if repeats:
            repeated[repeats[0]] += 1
        else:
            kept.append(example)
    return kept, repeated
