"""ReBase's score, and the rows that have the highest.

    S_inst(x) = cos( E(I), E(description of x's dataset) )
    S_q(x)    = max over columns c of  mean over examples k of cos( E(q_k), E(x_c) )
    S_a(x)    = max over columns c of  mean over examples k of cos( E(a_k), E(x_c) )
    S(x)      = ( S_inst + S_q + S_a ) / 3

(arXiv 2407.05463, section 3; official code retrieve_data.py:58-131.) Unless junk is to compete, four things are ours:

- A label is what many rows have in common: by a column of labels all rows of a source are found, or none. So it stands
  for the input only in rows that have nothing else.
- What stands for the input does not stand for the output too, where a row has another cell.
- A row's answer, by the role of its column, stands for the output, and no title or name of a template beside it.
- Outputs that say nothing by themselves (`B`, `17`, `yes`) are like nothing but junk. They are not asked with, and
  where all are such, S_q takes their third: the instruction finds whole datasets, the input rows.

All vectors have unit length, so the mean over examples of their cosines with a cell is one product of the cell with
the mean of the examples' vectors.
"""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rebase_hf.index.encoders import encode_texts
from rebase_hf.index.junk import is_junk
from rebase_hf.index.roles import ROLES
from rebase_hf.index.row_index import RowIndex
from rebase_hf.task import Task

logger = logging.getLogger(__name__)

PARTS = ("instruction", "input", "output")
INPUT_ROLES = frozenset(ROLES) - {"label"}
# How often each part that is scored counts, of three.
WEIGHTS = {PARTS: (1, 1, 1), PARTS[:2]: (1, 2)}
# Texts compared with all rows at a time: a table of rows by texts must fit the memory.
NEAR_CHUNK = 64


@dataclass(frozen=True, slots=True)
class TaskQueries:
    """A task as vectors of the index's encoder.

    Attributes:
        instruction: (d,), unit length.
        input: (d,), the mean of the examples' inputs.
        output: (d,), the mean of the examples' outputs.
        scored: Which of `PARTS` the score is made of.
        fields: (number of input fields, d), the mean of each input field over the examples.
    """

    instruction: NDArray[np.float32]
    input: NDArray[np.float32]
    output: NDArray[np.float32]
    fields: NDArray[np.float32]
    scored: tuple[str, ...] = PARTS

    @property
    def weights(self) -> NDArray[np.float32]:
        """How often each part that is scored counts, of three."""
        return np.asarray(WEIGHTS[self.scored], np.float32)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows by their score, best first; for given texts each text's in turn.

    Attributes:
        keys: (n,) row keys.
        scores: (n,) S, or the cosine with the nearest query.
        parts: (n, 3) S_inst, S_q, S_a.
        scored: Which of them S is made of.
        columns: (n, 2) the argmax columns for input and output; -1 where no cell competes.
        complete: Whether every row of the index is in it; otherwise it is the top, and asking for more gives more.
    """

    keys: NDArray[np.int64]
    scores: NDArray[np.float32]
    parts: NDArray[np.float32]
    columns: NDArray[np.int32]
    complete: bool
    scored: tuple[str, ...] = PARTS


def embed_task(task: Task, index: RowIndex, *, label_phrases: bool = True, junk: bool = False) -> TaskQueries:
    """Return the task's queries.

    Rationales are no part of an answer's query, as in the official code, which strips them (retrieve_data.py:443).

    Args:
        label_phrases: A label that no example has is stood for by its phrase, as one more input and output (ours).
        junk: Ask with outputs that say nothing by themselves, too, as the paper's code does.
    """
    inputs = [task.input_text(example) for example in task.examples]
    outputs = [example[task.output] for example in task.examples]
    if label_phrases:
        missing = [label for label in task.labels if label not in set(outputs)]
        inputs += [task.labels[label] for label in missing]
        outputs += missing
    asked = outputs if junk else [text for text in outputs if not is_junk(text)]
    outputs = asked or outputs
    by_field = [[example[name] for example in task.examples] for name in task.inputs]
    texts = [task.instruction, *inputs, *outputs, *(text for field in by_field for text in field)]
    vectors = encode_texts(index.encoder, texts)
    rest = vectors[1 + len(inputs) + len(outputs) :].reshape(len(by_field), len(task.examples), -1)
    return TaskQueries(
        instruction=vectors[0],
        input=vectors[1 : 1 + len(inputs)].mean(axis=0),
        output=vectors[1 + len(inputs) : 1 + len(inputs) + len(outputs)].mean(axis=0),
        fields=rest.mean(axis=1),
        scored=PARTS if asked else PARTS[:2],
    )


def rank_rows(index: RowIndex, queries: TaskQueries, *, limit: int, junk: bool = False) -> Ranking:
    """Return the `limit` rows with the highest S, or all rows where the index is searched exactly.

    Args:
        junk: Let booleans, numbers, ids and very short values compete, and labels for the input, as the paper's code
            does.
    """
    if not index.approximate or limit >= len(index):
        return _ranking(index, queries, np.arange(len(index)), junk=junk, complete=True)
    return _top_rows(index, queries, limit=limit, junk=junk)


def rank_rows_near(
    index: RowIndex, queries: TaskQueries, near: NDArray[np.float32], *, limit: int, junk: bool = False
) -> Ranking:
    """Return the `limit` rows nearest to some texts, or all where the index is searched exactly.

    A row is for the text that one of its cells is nearest to. Its score is that cosine, its input column the one that
    has it; the parts of S are told beside. The texts take turns: the best row of each comes first, best of these
    first, then the second of each. In the order of the cosines alone a few texts with many near rows would fill the
    top.

    Args:
        near: (texts, d), the texts' vectors.
    """
    complete = not index.approximate or limit >= len(index)
    found = [] if complete else [np.asarray(index.nearest_rows(vector, limit, junk=junk)[0]) for vector in near]
    keys = np.arange(len(index)) if complete else np.unique(np.concatenate(found)).astype(np.int64)
    by_task = _ranking(index, queries, keys, junk=junk, complete=complete)
    cosines, texts, inputs = _nearest_cells(index, near, by_task.keys, junk=junk)
    order = np.lexsort((by_task.keys, -cosines, _turns(texts, cosines)))[: None if complete else limit]
    columns = np.column_stack([inputs, by_task.columns[:, 1]])
    return Ranking(by_task.keys[order], cosines[order], by_task.parts[order], columns[order], complete, queries.scored)


def _turns(texts: NDArray[np.int64], cosines: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return for each row how many of the rows for the same text come before it; equal ones by their places."""
    order = np.lexsort((-cosines, texts))
    firsts = np.flatnonzero(np.diff(texts[order], prepend=-1))
    turns = np.empty(len(texts), dtype=np.int64)
    turns[order] = np.arange(len(texts)) - np.repeat(firsts, np.diff(firsts, append=len(texts)))
    return turns


def _nearest_cells(
    index: RowIndex, near: NDArray[np.float32], keys: NDArray[np.int64], *, junk: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int32]]:
    """Return each row's best cosine with any text, which text that is, and the column that has it."""
    cosines, inputs = np.full(len(keys), -np.inf, np.float32), np.full(len(keys), -1, np.int32)
    texts = np.zeros(len(keys), dtype=np.int64)
    for start in range(0, len(near), NEAR_CHUNK):
        scores, columns = index.best_cells(near[start : start + NEAR_CHUNK], keys, junk=junk)
        best = scores.argmax(axis=1)[:, None]
        highest = np.take_along_axis(scores, best, axis=1)[:, 0]
        nearer = highest > cosines
        inputs = np.where(nearer, np.take_along_axis(columns, best, axis=1)[:, 0], inputs)
        texts = np.where(nearer, start + best[:, 0], texts)
        cosines = np.maximum(cosines, highest)
    return cosines, texts, inputs


def _ranking(index: RowIndex, queries: TaskQueries, keys: NDArray[np.int64], *, junk: bool, complete: bool) -> Ranking:
    instruction = (index.description_vectors @ queries.instruction)[index.sources_of(keys)]
    best, columns = index.best_cells(np.stack([queries.input, queries.output]), keys, junk=junk)
    if not junk:
        _take(best, columns, 0, index.best_cells(queries.input, keys, roles=INPUT_ROLES))
        _take(best, columns, 1, index.best_cells(queries.output, keys, without=columns[:, 0]))
        _take(best, columns, 1, index.best_cells(queries.output, keys, without=columns[:, 0], roles={"answer"}))
    parts = np.column_stack([instruction, best]).astype(np.float32)
    # A row without one cell that may compete can't be asked about.
    weighed = (parts[:, : len(queries.scored)] * queries.weights).sum(axis=1) / 3
    scores = np.where((columns >= 0).all(axis=1), weighed, -np.inf).astype(np.float32)
    order = np.lexsort((keys, -scores))
    order = order[np.isfinite(scores[order])]
    return Ranking(keys[order], scores[order], parts[order], columns[order], complete, queries.scored)


def _take(
    best: NDArray[np.float32],
    columns: NDArray[np.int32],
    part: int,
    found: tuple[NDArray[np.float32], NDArray[np.int32]],
) -> None:
    """Put what was found by a narrower search in place of a part's cells, for the rows that have such a cell."""
    rows = found[1][:, 0] >= 0
    best[rows, part], columns[rows, part] = found[0][rows, 0], found[1][rows, 0]


def _top_rows(index: RowIndex, queries: TaskQueries, *, limit: int, junk: bool) -> Ranking:
    """Find the top rows through the graph, then prove that none was missed (Fagin's threshold algorithm).

    A row that neither list of nearest rows holds scores at most the two lists' last scores. Where that bound, with
    the description's score of a source, still reaches the score of the last row kept, the source's rows are scored
    exhaustively: rows that are good on all three parts but first on none come from there.
    """
    descriptions = index.description_vectors @ queries.instruction
    wide = min(len(index), 4 * limit)
    found: list[NDArray[np.int64]] = []
    floors: list[float] = []
    asked = [queries.input, queries.output][: len(queries.scored) - 1]
    both = sum(asked, np.zeros_like(queries.input))
    for query in (*asked, both / max(float(np.linalg.norm(both)), 1e-6)):
        keys, _, floor = index.nearest_rows(query, wide, junk=junk)
        found.append(np.asarray(keys, dtype=np.int64))
        floors.append(floor)
    keys = np.unique(np.concatenate(found))
    top = _ranking(index, queries, keys, junk=junk, complete=False)
    threshold = float(top.scores[limit - 1]) if len(top.scores) >= limit else -np.inf
    first, *others = queries.weights
    bounds = (first * descriptions + sum(w * floor for w, floor in zip(others, floors, strict=False))) / 3
    open_sources = np.flatnonzero(bounds >= threshold)
    if len(open_sources):
        rest = np.concatenate([np.asarray(index.source_keys(source)) for source in open_sources.tolist()])
        logger.debug("scoring %d sources exhaustively for the task's top %d rows", len(open_sources), limit)
        keys = np.union1d(keys, rest)
        top = _ranking(index, queries, keys, junk=junk, complete=False)
    cut = slice(0, limit)
    return Ranking(top.keys[cut], top.scores[cut], top.parts[cut], top.columns[cut], False, top.scored)
