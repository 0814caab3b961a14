"""ReBase (arXiv 2407.05463): retrieve single rows from many datasets, and transform each into an example of the task.

1. Embed the task: its instruction, its examples' inputs, its examples' outputs.
2. Rank every row of the index by S, the mean of three cosines (`scoring.py`).
3. Take rows from the top. What the paper's code lets through and should not is left out here, each by an option:
   the task's own dataset family, rows that overlap the evaluation set, near-duplicate rows, and the flood from one
   source (its own artefacts: 11 sources fill MNLI's 3,000 rows, one corpus among them twice).
4. Render each row into a prompt that asks for one example of the task: one draft a row.

The teacher's answer is then parsed and checked (`quality/`). `ReBaseOptions.as_published()` gives the paper's code.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from rebase_hf.index.row_index import RowIndex

from rebase_hf.methods.scoring import PARTS, Ranking, embed_task, rank_rows
from rebase_hf.quality.contamination import SIMILAR, EvaluationGuard, same_family, task_names
from rebase_hf.quality.duplicates import NEAR, NearDuplicates
from rebase_hf.rows import Draft, Dropped, RetrievedRow, Sampling
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import ROW_CHARS, answer_schema, shown_cells, transform_messages

logger = logging.getLogger(__name__)

NAME = "rebase"
PAPER = "https://arxiv.org/abs/2407.05463"
# claude-3-haiku's settings in the official code (dataset_transformer.py:348-356).
SAMPLING = Sampling(temperature=0.7, max_tokens=1000)
CHUNK = 256


@dataclass(frozen=True, slots=True)
class ReBaseOptions:
    """How rows are taken; the defaults mend what METHODS of the official code get wrong.

    Attributes:
        junk_columns: Let booleans, numbers, ids and very short values compete for the best column.
        max_per_source: At most this many rows of one source are asked about; None is a fifth of the examples asked
            for (twice an even share, where the index has few sources), 0 is no limit.
        near_duplicate_rows: Similarity from which a row repeats one taken before; 1.0 leaves out equal rows only,
            None leaves out nothing.
        exclude_family: Leave out sources whose name says that the task's own data comes from them.
        guard_evaluation: Leave out rows that overlap the evaluation set, by words or by similarity.
        label_phrases: Labels without an example are searched for by their phrase.
        row_chars: Characters of a row that a prompt shows, before it is cut to its best columns.
        field_chars: Characters of each cell that a prompt shows; None cuts only what does not fit `row_chars`.
        max_rows: Look at this many rows at most; None is no limit (the paper takes the top 3,000).
    """

    junk_columns: bool = False
    max_per_source: int | None = None
    near_duplicate_rows: float | None = NEAR
    exclude_family: bool = True
    guard_evaluation: bool = True
    label_phrases: bool = True
    row_chars: int = ROW_CHARS
    field_chars: int | None = None
    max_rows: int | None = None

    @classmethod
    def as_published(cls) -> "ReBaseOptions":
        """Return the official code's behaviour, its mistakes included; only its ban by name stays stricter here."""
        return cls(
            junk_columns=True,
            max_per_source=0,
            near_duplicate_rows=None,
            guard_evaluation=False,
            label_phrases=False,
            field_chars=250,
            max_rows=3000,
        )


def drafts(
    task: Task, index: RowIndex, guard: EvaluationGuard, options: ReBaseOptions, *, num_examples: int, seed: int = 0
) -> Iterator[Draft | Dropped]:
    """Yield, best row first, what to ask about each row, or why it is not asked about.

    Args:
        guard: What the evaluation set says.
        num_examples: How many examples are wanted: the cap per source comes from it.
    """
    schema = answer_schema(task)
    for row in taken_rows(task, index, guard, options, num_examples=num_examples, seed=seed):
        if isinstance(row, Dropped):
            yield row
            continue
        cells = shown_cells(row, row_chars=options.row_chars, field_chars=options.field_chars)
        yield Draft(transform_messages(task, row, cells=cells), schema, row=row, sampling=SAMPLING)


def taken_rows(
    task: Task, index: RowIndex, guard: EvaluationGuard, options: ReBaseOptions, *, num_examples: int, seed: int = 0
) -> Iterator[RetrievedRow | Dropped]:
    """Yield the rows to ask about, best first, and in between those that were left out, with the reason."""
    held = index.encoder.encode(list(guard.texts)) if guard.texts and options.guard_evaluation else None
    seen = None if options.near_duplicate_rows is None else NearDuplicates(near=options.near_duplicate_rows, seed=seed)
    cap = _source_cap(index, options, num_examples)
    taken: Counter[int] = Counter()
    family = _family(task, index) if options.exclude_family else frozenset()
    for row, source, similarity in _ranked(task, index, options, held, num_examples=num_examples):
        refusal: tuple[str, str] | None = None
        if source in family:
            refusal = "own_family", f"`{row.source.dataset}` may be the task's own data, by its name"
        elif options.guard_evaluation and (shared := _overlap(row, guard, similarity)) is not None:
            refusal = "in_evaluation_set", shared
        elif cap and taken[source] >= cap:
            refusal = "source_cap", f"`{row.source.dataset}` already gave its {cap} rows"
        elif seen is not None and (found := seen.add(" ".join(row.source.cells.values()))) is not None:
            refusal = "near_duplicate_row", f"repeats a row taken before (similarity {found[1]:.2f})"
        if refusal is not None:
            yield Dropped("retrieval", *refusal, row=row)
            continue
        taken[source] += 1
        yield row


def _ranked(
    task: Task, index: RowIndex, options: ReBaseOptions, held: NDArray[np.float32] | None, *, num_examples: int
) -> Iterator[tuple[RetrievedRow, int, float]]:
    """Yield the rows by rank, each with the number of its source and its similarity to the evaluation set."""
    queries = embed_task(task, index, label_phrases=options.label_phrases)
    names = {part: i for i, part in enumerate(PARTS)}
    most = min(len(index), options.max_rows or len(index))
    done, limit = 0, min(most, max(1000, 4 * num_examples))
    while done < most:
        ranking = rank_rows(index, queries, limit=limit, junk=options.junk_columns)
        last = min(most, len(ranking.keys))
        for start in range(done, last, CHUNK):
            chunk = slice(start, min(start + CHUNK, last))
            keys = ranking.keys[chunk]
            fields = index.best_cells(queries.fields, keys, junk=options.junk_columns)[1]
            closest = _closest(index, keys, held)
            for i, source_row in enumerate(index.rows([int(key) for key in keys])):
                at = start + i
                source = int(index.row_sources[keys[i]])
                columns = index.sources[source].columns
                row = RetrievedRow(
                    source=source_row,
                    score=float(ranking.scores[at]),
                    parts={part: float(ranking.parts[at, j]) for part, j in names.items()},
                    columns=_columns(task, columns, ranking, at, fields[i]),
                    key=int(keys[i]),
                )
                yield row, source, float(closest[i])
        if ranking.complete or last == done:
            return
        done, limit = last, min(len(index), limit * 4)


def _columns(
    task: Task, names: tuple[str, ...], ranking: Ranking, at: int, fields: NDArray[np.int32]
) -> dict[str, str]:
    best_input, best_output = (int(column) for column in ranking.columns[at])
    columns = {name: names[int(column)] for name, column in zip(task.inputs, fields, strict=True) if column >= 0}
    return columns | {"input": names[best_input], "output": names[best_output]}


def _closest(index: RowIndex, keys: NDArray[np.int64], held: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if held is None or not len(held):
        return np.full(len(keys), -1.0, dtype=np.float32)
    closest: NDArray[np.float32] = index.best_cells(held, keys)[0].max(axis=1)
    return closest


def _overlap(row: RetrievedRow, guard: EvaluationGuard, similarity: float) -> str | None:
    for name, text in row.source.cells.items():
        if guard.equals(text):
            return f"`{name}` is an evaluation text"
        if (shared := guard.overlap(text)) is not None:
            return f"`{name}` shares with an evaluation text: {shared}"
    if similarity >= SIMILAR:
        return f"a cell has the similarity {similarity:.3f} with an evaluation text"
    return None


def _source_cap(index: RowIndex, options: ReBaseOptions, num_examples: int) -> int:
    if options.max_per_source is not None:
        return options.max_per_source
    return max(20, ceil(0.2 * num_examples), ceil(2 * num_examples / max(1, len(index.sources))))


def _family(task: Task, index: RowIndex) -> frozenset[int]:
    names = task_names(task)
    family = {i for i, source in enumerate(index.sources) if same_family(source.dataset, names)}
    for i in sorted(family):
        logger.warning(
            "`%s` is not retrieved from: by its name it may be the data that task `%s` comes from "
            "(allow it with exclude_family=False)", index.sources[i].dataset, task.name,
        )  # fmt: skip
    return frozenset(family)
