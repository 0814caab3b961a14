"""What can be counted of a list of retrieved rows, whichever way they were retrieved.

Junk, repeats and overlap are told here by rules of their own where the library has one that it also filters by: a
list is not to be judged by the filter that made it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.retrieval_lists import TakenList
from rebase_hf.index.encoders import Encoder
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.excluded import closest_cells, held_vectors, overlap
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.duplicates import normalise
from rebase_hf.quality.repeats import SEMANTIC, find_repeats
from rebase_hf.quality.spread import Spread
from rebase_hf.rows import RetrievedRow

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
# A shorter text that two sets share says nothing ("yes", "what time is it").
LEAK_CHARS = 20

_BOOLEANS = frozenset({"true", "false", "none", "null", "nan"})
_YES_NO = frozenset({"yes", "no"})
_NUMBER = re.compile(r"[-+]?[$€£]?\d[\d.,:/%-]*")
_ID = re.compile(r"(?=\S*\d)[\w./:#-]+|https?://\S+")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")


def junk_kind(text: str) -> str | None:
    """Return what kind of junk a cell is, or None: a boolean, a number, an id (one word with a digit), too short."""
    plain = text.strip().lower()
    if plain in _YES_NO:
        return "yes_no"
    if plain in _BOOLEANS:
        return "boolean"
    if _NUMBER.fullmatch(plain):
        return "number"
    if _ID.fullmatch(plain):
        return "id"
    return "short" if len(plain) < 3 else None


def spread_of(taken: TakenList) -> dict[str, float]:
    """Return how many datasets the rows are of, how many that many equal shares would be, and the largest share."""
    names = [dataset_name(row) for row in taken.rows]
    spread = Spread.of(names)
    largest = max((names.count(name) for name in set(names)), default=0)
    return {"sources": spread.kinds, "effective": spread.effective, "largest": largest / max(1, len(names))}


def repeats_of(taken: TakenList, encoder: Encoder) -> dict[str, float]:
    """Return the share of rows that repeat an earlier one: whole, or by the cell that stands for the input.

    `meaning` adds to the cells' words their embeddings, which no retrieval filters by.
    """
    whole = find_repeats([(" ".join(row.source.cells.values()),) for row in taken.rows])
    exact = sum(repeat.similarity == 1.0 for repeat in whole.values())
    cells = find_repeats([(cell(row, "input"),) for row in taken.rows], semantic=SEMANTIC, encoder=encoder)
    count = max(1, len(taken.rows))
    return {"exact": exact / count, "near": len(whole) / count, "same_input": len(cells) / count}


def same_cell_of(taken: TakenList) -> float:
    """Return the share of rows in which one cell was taken for the input and for the output."""
    return sum(row.columns["input"] == row.columns["output"] for row in taken.rows) / max(1, len(taken.rows))


def junk_of(taken: TakenList) -> dict[str, float]:
    """Return the share of rows whose best cell for the input, or for the output, is junk, and that of each kind."""
    kinds = [{junk_kind(cell(row, part)) for part in ("input", "output")} - {None} for row in taken.rows]
    count = max(1, len(kinds))
    shares = {
        str(kind): sum(kind in one for one in kinds) / count for kind in sorted({k for one in kinds for k in one if k})
    }
    return {"junk": sum(bool(one) for one in kinds) / count, **shares}


def leaks_of(
    taken: TakenList,
    index: RowIndex,
    guard: EvaluationGuard,
    held_out: Sequence[Mapping[str, str]],
    inputs: Iterable[str],
) -> dict[str, int]:
    """Return how many rows overlap the evaluation set: by the library's guard, and by equal fields or sentences."""
    closest = closest_cells(index, np.asarray(taken.keys), held_vectors(index, guard))
    guarded = [overlap(row, guard, float(near)) for row, near in zip(taken.rows, closest, strict=True)]
    names = list(inputs)
    asked = {normalise(row[name]) for row in held_out for name in names if len(row[name]) >= LEAK_CHARS}
    equal = [any(part in asked for part in _parts(row)) for row in taken.rows]
    return {"guard": sum(found is not None for found in guarded), "equal": sum(equal)}


def _parts(row: RetrievedRow) -> Iterable[str]:
    for text in row.source.cells.values():
        for part in (text, *_SENTENCES.split(text)):
            if len(part) >= LEAK_CHARS:
                yield normalise(part)


def relatedness_of(
    taken: TakenList, index: RowIndex, held: Array, wanted: frozenset[str], categories: Mapping[str, frozenset[str]]
) -> dict[str, float]:
    """Return how the rows are related to the task.

    Args:
        held: (texts, d), vectors of held-out inputs.
        wanted: What a card calls tasks like this one.

    Returns:
        `family`, the share of rows from datasets whose card says so; `similarity`, the mean cosine of a held-out input
        with a row's cell that is nearest to it; `coverage`, that with the nearest cell of all the rows.
    """
    agree = [bool(wanted & categories[dataset_name(row)]) for row in taken.rows]
    cosines = index.best_cells(held, np.asarray(taken.keys), junk=True)[0]
    return {
        "family": float(np.mean(agree)),
        "similarity": float(cosines.mean()),
        "coverage": float(cosines.max(axis=0).mean()),
    }


def dataset_name(row: RetrievedRow) -> str:
    """Return the name of the bank's folder that a row is of."""
    return Path(row.source.dataset).name


def cell(row: RetrievedRow, part: str) -> str:
    """Return the text of a row's best cell for a part of the score."""
    return row.source.cells[row.columns[part]]
