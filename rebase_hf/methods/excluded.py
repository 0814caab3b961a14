"""What is left out before anything is asked: the task's own data by name, and rows that overlap the evaluation set."""

import logging
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rebase_hf.index.encoders import encode_texts
from rebase_hf.index.row_index import RowIndex
from rebase_hf.quality.contamination import SIMILAR, EvaluationGuard, same_family, task_names
from rebase_hf.quality.duplicates import normalise
from rebase_hf.rows import RetrievedRow
from rebase_hf.task import Task

logger = logging.getLogger(__name__)

# Evaluation texts compared with a chunk of rows at a time: a table of cells by texts must fit the memory.
HELD_CHUNK = 512


def own_family(task: Task, index: RowIndex) -> frozenset[int]:
    """Return the numbers of the sources whose name says that the task's own data comes from them, with a warning."""
    return _named_alike(index, task.name, frozenset(task_names(task)))


@lru_cache(maxsize=8)
def _named_alike(index: RowIndex, task_name: str, names: frozenset[str]) -> frozenset[int]:
    family = {i for i, s in enumerate(index.sources) if same_family(s.dataset, names, config=s.config)}
    for dataset in sorted({index.sources[i].dataset for i in family}):
        logger.warning(
            "`%s` is not retrieved from: by its name it may be the data that task `%s` comes from. "
            "exclude_family=False allows it.",
            dataset,
            task_name,
        )
    return frozenset(family)


def held_vectors(index: RowIndex, guard: EvaluationGuard | None) -> NDArray[np.float32] | None:
    """Return the vectors of the guarded texts, by the index's encoder; None where nothing is guarded."""
    return _encoded(index, tuple(guard.texts)) if guard is not None and guard.texts else None


@lru_cache(maxsize=4)
def _encoded(index: RowIndex, texts: tuple[str, ...]) -> NDArray[np.float32]:
    return encode_texts(index.encoder, texts)


def closest_cells(index: RowIndex, keys: NDArray[np.int64], held: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return for each row the highest cosine of a cell with a guarded text; -1 where nothing is guarded."""
    closest = np.full(len(keys), -1.0, dtype=np.float32)
    if held is None:
        return closest
    for start in range(0, len(held), HELD_CHUNK):
        scores = index.best_cells(held[start : start + HELD_CHUNK], keys)[0]
        np.maximum(closest, scores.max(axis=1), out=closest)
    return closest


def overlap(row: RetrievedRow, guard: EvaluationGuard, similarity: float = -1.0) -> str | None:
    """Return what a row shares with the evaluation set, or None.

    Args:
        similarity: The highest cosine of one of its cells with an evaluation text, where it is known.
    """
    for name, text in row.source.cells.items():
        # A cell of one word ("yes") is the label or the type of many a row; the same word as an answer's whole input
        # is the gate's to refuse.
        if guard.equals(text) and " " in normalise(text):
            return f"`{name}` is an evaluation text"
        if (shared := guard.overlap(text)) is not None:
            return f"`{name}` shares with an evaluation text: {shared}"
    if similarity >= SIMILAR:
        return f"a cell has the similarity {similarity:.3f} with an evaluation text"
    return None
