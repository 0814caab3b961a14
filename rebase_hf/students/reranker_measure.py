"""Whether a reranker is worth its while: what it puts first for questions that it was not trained on."""

from collections.abc import Sequence

import numpy as np

from rebase_hf.index.row_index import RowIndex
from rebase_hf.students.candidate_pools import FOUND_BY_EACH, Asked
from rebase_hf.students.passages import found_passages
from rebase_hf.students.reranker import Reranker


def measure_reranker(
    reranker: Reranker, index: RowIndex, asked: Sequence[Asked], *, found: int = FOUND_BY_EACH
) -> dict[str, float]:
    """Return the mean BM25, against the rationale, of the passage that comes first among those the question finds.

    Returns:
        `bm25`: where the question's words put them in order; `reranker`: where the reranker does; `best`: of the best
        that could be put first; `questions`: how many had passages to choose among.
    """
    words = index.words()
    chosen: dict[str, list[float]] = {"bm25": [], "reranker": [], "best": []}
    for one in asked:
        keys, fits = words.search_scored(one.question, found, scored_by=one.rationale)
        passages = found_passages(index, keys.tolist(), fits.tolist(), one.allowed)
        if len(passages) > 1:
            first = int(np.argmax(reranker.scores(one.question, [passage.text for passage in passages])))
            chosen["bm25"].append(passages[0].bm25)
            chosen["reranker"].append(passages[first].bm25)
            chosen["best"].append(max(passage.bm25 for passage in passages))
    measured = len(chosen["bm25"])
    return {name: float(np.mean(values)) if measured else 0.0 for name, values in chosen.items()} | {
        "questions": measured
    }
