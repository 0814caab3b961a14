"""Which rows are asked about: those of the highest S, or nearest to given texts, but for what is left out."""

from collections import Counter
from collections.abc import Iterator
from math import ceil

import numpy as np
from numpy.typing import NDArray

from rebase_hf.index.encoders import encode_texts
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.columns import FieldColumns
from rebase_hf.methods.excluded import closest_cells, held_vectors, overlap, own_family
from rebase_hf.methods.rebase_options import ReBaseOptions
from rebase_hf.methods.scoring import Ranking, embed_task, rank_rows, rank_rows_near
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.duplicates import NearDuplicates
from rebase_hf.rows import Dropped, RetrievedRow, source_address
from rebase_hf.task import Task

CHUNK = 256
# Of the examples asked for, what one dataset gives at most: benchmarks/retrieval.py shows what that does to the rows.
SOURCE_SHARE = 0.125


def taken_rows(
    task: Task, index: RowIndex, guard: EvaluationGuard, options: ReBaseOptions, *, num_examples: int, seed: int = 0
) -> Iterator[RetrievedRow | Dropped]:
    """Yield the rows to ask about, best first, and in between those that were left out, with the reason.

    A cap per source that the user set leaves rows out. The default one puts them off: once all else is used up they
    come after all, best first, since fewer examples than asked for would be worse than many of one source.
    """
    held = guard if options.guard_evaluation else None
    choice = _Choice(task, index, held, options, num_examples=num_examples, seed=seed)
    looked = 0
    put_off: list[tuple[RetrievedRow, int, float]] = []
    for row, source, similarity in _ranked(task, index, options, held, num_examples=num_examples):
        refusal = choice.refusal(row, source, similarity)
        looked += refusal is None or refusal[0] not in ("own_family", "excluded_row")
        if refusal is not None and refusal[0] == "source_cap" and options.max_per_source is None:
            put_off.append((row, source, similarity))
        else:
            yield row if refusal is None else Dropped("retrieval", *refusal, row=row)
        if looked == options.max_rows:
            break
    choice.lift_cap()
    for row, source, similarity in put_off:
        refusal = choice.refusal(row, source, similarity)
        yield row if refusal is None else Dropped("retrieval", *refusal, row=row)


class _Choice:
    """Decides on row after row whether to ask about it: cheap reasons first, and never by what comes later."""

    def __init__(
        self,
        task: Task,
        index: RowIndex,
        held: EvaluationGuard | None,
        options: ReBaseOptions,
        *,
        num_examples: int,
        seed: int,
    ) -> None:
        near = options.near_duplicate_rows
        self._held = held
        self._seen = None if near is None else NearDuplicates(near=near, seed=seed)
        self._cap = _source_cap(index, options, num_examples)
        self._taken: Counter[str] = Counter()
        self._family = own_family(task, index) if options.exclude_family else frozenset()
        self._excluded = frozenset(options.exclude_rows)

    def lift_cap(self) -> None:
        """Let every source give what it has."""
        self._cap = 0

    def refusal(self, row: RetrievedRow, source: int, similarity: float) -> tuple[str, str] | None:
        """Return why a row is left out, or None and count it as taken.

        Args:
            source: The number of its source.
            similarity: The highest cosine of one of its cells with an evaluation text.
        """
        dataset = row.source.dataset
        if source in self._family:
            return "own_family", f"`{dataset}` may be the task's own data, by its name"
        if self._excluded and (address := source_address(row.source.reference("context"))) in self._excluded:
            return "excluded_row", f"{address} is not to be used"
        if self._cap and self._taken[dataset] >= self._cap:
            return "source_cap", f"`{dataset}` already gave its {self._cap} rows"
        if self._held is not None and (shared := overlap(row, self._held, similarity)) is not None:
            return "in_evaluation_set", shared
        if self._seen is not None and (found := self._seen.add(" ".join(row.source.cells.values()))) is not None:
            return "near_duplicate_row", f"repeats a row taken before (similarity {found[1]:.2f})"
        self._taken[dataset] += 1
        return None


def _ranked(
    task: Task, index: RowIndex, options: ReBaseOptions, guard: EvaluationGuard | None, *, num_examples: int
) -> Iterator[tuple[RetrievedRow, int, float]]:
    """Yield the rows by rank, each with the number of its source and its similarity to the evaluation set."""
    queries = embed_task(task, index, label_phrases=options.label_phrases, junk=options.junk_columns)
    held = held_vectors(index, guard)
    columns = FieldColumns(task, index, queries, junk=options.junk_columns)
    near = None if options.queries is None else encode_texts(index.encoder, options.queries)
    given: set[int] = set()
    limit = max(1000, 4 * num_examples, options.max_rows or 0)
    while True:
        if near is None:
            ranking = rank_rows(index, queries, limit=limit, junk=options.junk_columns)
        else:
            ranking = rank_rows_near(index, queries, near, limit=limit, junk=options.junk_columns)
        # A wider search may find a row that the graph missed before: none is given twice or passed over for it.
        ranks = [rank for rank, key in enumerate(ranking.keys.tolist()) if key not in given]
        given.update(ranking.keys.tolist())
        for start in range(0, len(ranks), CHUNK):
            yield from _retrieved(index, ranking, ranks[start : start + CHUNK], columns, held)
        if ranking.complete:
            return
        limit *= 4


def _retrieved(
    index: RowIndex, ranking: Ranking, ranks: list[int], columns: FieldColumns, held: NDArray[np.float32] | None
) -> Iterator[tuple[RetrievedRow, int, float]]:
    keys = ranking.keys[ranks]
    closest = closest_cells(index, keys, held)
    sources = index.sources_of(keys).tolist()
    for i, (rank, row) in enumerate(zip(ranks, index.rows(keys), strict=True)):
        source = sources[i]
        retrieved = RetrievedRow(
            source=row,
            score=float(ranking.scores[rank]),
            parts=dict(zip(ranking.scored, ranking.parts[rank].tolist(), strict=False)),
            columns=_best_columns(index, source, ranking.columns[rank]),
            fields=columns.of(source, row),
            key=int(keys[i]),
        )
        yield retrieved, source, float(closest[i])


def _best_columns(index: RowIndex, source: int, best: NDArray[np.int32]) -> dict[str, str]:
    names = index.sources[source].columns
    return {"input": names[int(best[0])], "output": names[int(best[1])]}


def _source_cap(index: RowIndex, options: ReBaseOptions, num_examples: int) -> int:
    if options.max_per_source is not None:
        return options.max_per_source
    datasets = len({source.dataset for source in index.sources})
    return max(ceil(SOURCE_SHARE * num_examples), ceil(2 * num_examples / max(1, datasets)))
