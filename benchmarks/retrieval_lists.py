"""The two lists that retrieval is judged by: ReBase's scoring as its authors published it, and the library's own.

`official` is what `--as-published` takes: every cell competes, nothing but the task's own family is left out. It is
computed a second time here from the formulas alone (arXiv 2407.05463, section 3; official code
retrieve_data.py:58-131), cell by cell with the encoder's own vectors, to see that the option is what it says.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from rebase_hf.index.encoders import Encoder, encode_texts
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.excluded import own_family
from rebase_hf.methods.rebase_options import ReBaseOptions
from rebase_hf.methods.taking import taken_rows
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.rows import RetrievedRow
from rebase_hf.task import Task

LISTS = {"official": ReBaseOptions.as_published(), "ours": ReBaseOptions()}
CELLS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class TakenList:
    """The rows that were taken for a task, best first.

    Attributes:
        seconds: CPU of taking them, when all texts have their vectors.
    """

    rows: list[RetrievedRow]
    seconds: float

    @property
    def keys(self) -> list[int]:
        """The rows' keys in the index."""
        return [row.key for row in self.rows]


def taken_list(task: Task, index: RowIndex, guard: EvaluationGuard, options: ReBaseOptions, count: int) -> TakenList:
    """Return the first `count` rows that a run for as many examples asks a teacher about."""
    start = time.process_time()
    taken = taken_rows(task, index, guard, options, num_examples=count)
    rows = list(islice((row for row in taken if isinstance(row, RetrievedRow)), count))
    return TakenList(rows, time.process_time() - start)


class PublishedScores:
    """The published score of every row of an index, from its texts and the encoder, by none of the library's code.

    Args:
        encoder: The encoder that the index was built with.
    """

    def __init__(self, index: RowIndex, encoder: Encoder) -> None:
        rows = index.rows(np.arange(len(index)))
        cells = [row.cells for row in rows]
        # Texts as the index encodes them: the official code cuts none, the model reads no more than its 256 tokens.
        texts = [text for row in cells for text in row.values()]
        self._encoder, self._index = encoder, index
        self._starts = np.cumsum([0, *(len(row) for row in cells)])[:-1]
        numbers: dict[str, int] = {}
        self._texts = np.asarray([numbers.setdefault(text[:2000], len(numbers)) for text in texts])
        self._vectors = _encoded(encoder, list(numbers)).astype(np.float32)
        described: dict[str, int] = {}
        self._descriptions = np.asarray([described.setdefault(row.description, len(described)) for row in rows])
        self._about = _encoded(encoder, list(described))

    def top(self, task: Task, count: int) -> list[int]:
        """Return the keys of the `count` rows with the highest score, without the task's own family."""
        asked = [task.instruction, *map(task.input_text, task.examples)]
        asked += [example[task.output] for example in task.examples]
        vectors, given = encode_texts(self._encoder, asked), len(task.examples)
        cosines = self._vectors @ vectors[1:].T
        by_cell = np.column_stack([cosines[:, :given].mean(axis=1), cosines[:, given:].mean(axis=1)])[self._texts]
        best = np.maximum.reduceat(by_cell, self._starts, axis=0)
        instruction = (self._about @ vectors[0])[self._descriptions]
        scores = (instruction + best[:, 0] + best[:, 1]) / 3
        family = own_family(task, self._index)
        banned = np.isin(self._index.sources_of(np.arange(len(self._index))), list(family))
        order = np.lexsort((np.arange(len(scores)), -scores))
        return [int(key) for key in order[~banned[order]][:count]]


def _encoded(encoder: Encoder, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    parts = [encode_texts(encoder, texts[i : i + CELLS_AT_ONCE]) for i in range(0, len(texts), CELLS_AT_ONCE)]
    return np.concatenate(parts)
