"""Content sourcing (SynthesizRR, steps 2 to 5): which documents belong to which seed, and what each may serve for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rebase_hf.methods.documents import count_tokens, cut_at_sentence, document_text
from rebase_hf.methods.excluded import closest_cells, overlap
from rebase_hf.methods.method import Ground
from rebase_hf.methods.seeds import Seed
from rebase_hf.rows import Dropped, RetrievedRow

# Ranks 1 and 2 go into the in-context examples, and are not written from.
RESERVED_RANKS = 2
SEARCHED_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Sourced:
    """A document that was found for a seed, cut to the length that a prompt shows."""

    seed: Seed
    row: RetrievedRow
    document: str


class SeedDocuments:
    """The documents of the seeds of one label.

    Args:
        family: Numbers of the sources that are not written from.
        held: Vectors of the evaluation texts, the same for all labels; None where nothing is guarded.
    """

    def __init__(
        self, ground: Ground, seeds: Sequence[Seed], family: frozenset[int], held: NDArray[np.float32] | None = None
    ) -> None:
        self.seeds = list(seeds)
        self._ground, self._family = ground, family
        self._found = self._search()
        keys = np.unique([row.key for rows in self._found for row in rows])
        self._sources = dict(zip(keys.tolist(), ground.rows.sources_of(keys).tolist(), strict=True))
        self._closest = dict(zip(keys.tolist(), closest_cells(ground.rows, keys, held).tolist(), strict=True))

    def __len__(self) -> int:
        """How many pairs of seed and document there are."""
        return sum(map(len, self._found))

    def candidates(self) -> Iterator[Sourced | Dropped]:
        """Yield the documents to write from, or why one is left out; the first rank of every seed comes first."""
        options = self._ground.options
        first, last = options.ranks
        if options.shot_kind == "retrieved":
            first = max(first, RESERVED_RANKS + 1)
        for rank in range(first, last + 1):
            for seed, rows in zip(self.seeds, self._found, strict=True):
                if rank <= len(rows):
                    row = rows[rank - 1]
                    refusal = self._refusal(row, options.similarity)
                    yield self._sourced(seed, row) if refusal is None else Dropped("retrieval", *refusal, row=row)

    @cached_property
    def pairs(self) -> list[Sourced]:
        """The seeds with each of their reserved documents that is near enough to show how one becomes the other."""
        return [
            self._sourced(seed, row)
            for seed, rows in zip(self.seeds, self._found, strict=True)
            for row in rows[:RESERVED_RANKS]
            if self._refusal(row, self._ground.options.shot_similarity) is None
        ]

    def _sourced(self, seed: Seed, row: RetrievedRow) -> Sourced:
        most = self._ground.options.context_tokens[1]
        return Sourced(seed, row, cut_at_sentence(document_text(row.source), most))

    def _refusal(self, row: RetrievedRow, similarity: tuple[float, float]) -> tuple[str, str] | None:
        """Return why a document is not used."""
        options, source = self._ground.options, row.source
        low, high = similarity
        if self._sources[row.key] in self._family:
            return "own_family", f"`{source.dataset}` may be the task's own data, by its name"
        if options.retriever != "random" and not low <= row.score <= high:
            return "similarity_out_of_range", f"its similarity to the seed is {row.score:.3f}, not {low:g} to {high:g}"
        if (tokens := count_tokens(document_text(source))) < options.context_tokens[0]:
            return "document_too_short", f"it has {tokens} tokens, fewer than {options.context_tokens[0]}"
        if (shared := overlap(row, self._ground.guard, self._closest[row.key])) is not None:
            return "in_evaluation_set", shared
        return None

    def _search(self) -> list[list[RetrievedRow]]:
        """Return each seed's documents by rank."""
        options, index = self._ground.options, self._ground.rows
        last = min(options.ranks[1], len(index))
        queries = [self._ground.task.input_text(one.fields) for one in self.seeds]
        if options.retriever == "random":
            return [self._drawn(text, last) for text in queries]
        found: list[list[RetrievedRow]] = []
        for start in range(0, len(queries), SEARCHED_TOGETHER):
            found += index.search(queries[start : start + SEARCHED_TOGETHER], k=last, mode=options.retriever)
        return found

    def _drawn(self, text: str, count: int) -> list[RetrievedRow]:
        chance = np.random.default_rng([self._ground.seed, *text.encode()])
        keys = chance.choice(len(self._ground.rows), size=count, replace=False)
        rows = self._ground.rows.rows(keys)
        return [RetrievedRow(row, 0.0, key=int(key)) for key, row in zip(keys, rows, strict=True)]
