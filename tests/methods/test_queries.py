"""Rows for given texts, in place of the task's own score."""

import numpy as np
import pytest

from rebase_hf.errors import TaskError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.rebase_options import ReBaseOptions
from rebase_hf.methods.scoring import embed_task, rank_rows_near
from rebase_hf.plan import make_plan
from rebase_hf.rows import source_address
from tests.doubles.tgi_server import TGIServer
from tests.index.hashing_encoder import HashingEncoder
from tests.methods.test_rebase import COMPLAINTS, TASK, reasons, rows_of, sentences

QUERIES = ("the ferry left the harbour late", "a ticket for the night train")


def travels(build, count: int = 40) -> RowIndex:
    texts = [*sentences(count, "charged", "May"), *sentences(count, "ferry", "harbour", seed=1)]
    texts += sentences(count, "night", "train", "ticket", seed=2)
    return build({"mails": [{"text": text, "note": f"note {i:03d} of {text[:9]}"} for i, text in enumerate(texts)]})


def by_turns(index: RowIndex, near: np.ndarray) -> list[tuple[int, float, dict[str, float]]]:
    """Return the rows in the order in which they should come: key, cosine, and each cell's cosine with its text."""
    encode, own = HashingEncoder().encode, {}
    for key in range(len(index)):
        cosines = {name: encode([text]) @ near.T for name, text in index.rows([key])[0].cells.items()}
        text = int(np.stack(list(cosines.values())).max(axis=(0, 1)).argmax())
        own.setdefault(text, []).append((key, {name: float(found[0, text]) for name, found in cosines.items()}))
    ordered = []
    for rows in own.values():
        best = sorted(((max(cells.values()), key, cells) for key, cells in rows), key=lambda row: -row[0])
        ordered += [(turn, -cosine, key, cells) for turn, (cosine, key, cells) in enumerate(best)]
    return [(key, -cosine, cells) for _, cosine, key, cells in sorted(ordered, key=lambda row: row[:3])]


@pytest.mark.parametrize("exact", [True, False])
def test_texts_take_turns_with_the_rows_that_are_nearest_to_them(build, exact):
    index = travels(build)
    if not exact:
        index = RowIndex.open(index.path, encoder=HashingEncoder(), exact_below=0)
    near = HashingEncoder().encode(QUERIES)
    ranking = rank_rows_near(index, embed_task(TASK, index), near, limit=30)
    assert ranking.complete == exact
    expected = by_turns(index, near)[:20]
    assert ranking.keys[:20].tolist() == [key for key, _, _ in expected]
    assert ranking.scores[:20] == pytest.approx([cosine for _, cosine, _ in expected], abs=2e-3)
    assert not (np.diff(ranking.scores) <= 0).all()  # it is not the order of the cosines alone
    names = index.sources[0].columns
    for (_, cosine, cells), column in zip(expected, ranking.columns[:20, 0], strict=True):
        assert cells[names[column]] == pytest.approx(cosine, abs=2e-3)


def test_queries_bring_other_rows_than_the_task(build):
    index = travels(build)
    by_task, _ = rows_of(index, wanted=20)
    asked_for, _ = rows_of(index, options=ReBaseOptions(queries=QUERIES), wanted=20)
    assert any("charged" in row.source.cells["text"] for row in by_task[:20])
    assert not any("charged" in row.source.cells["text"] for row in asked_for[:20])
    assert asked_for[0].score > by_task[0].score and set(asked_for[0].parts) == {"instruction", "input", "output"}


def test_rows_that_were_used_do_not_come_again(build):
    index = travels(build)
    first, _ = rows_of(index, options=ReBaseOptions(queries=QUERIES))
    used = tuple(source_address(row.source.reference("context")) for row in first[:25])
    rest, dropped = rows_of(index, options=ReBaseOptions(queries=QUERIES, exclude_rows=used))
    assert {row.key for row in rest} == {row.key for row in first[25:]}
    assert reasons(dropped)["excluded_row"] == 25
    some, _ = rows_of(index, options=ReBaseOptions(queries=QUERIES, exclude_rows=used, max_rows=5))
    assert [row.key for row in some] == [row.key for row in first[25:30]]


def test_an_address_names_a_row_by_what_there_is():
    assert source_address({"dataset": "org/mails", "config": None, "split": "train", "row": 7}) == "org/mails:train#7"


def test_other_texts_make_another_run_and_empty_ones_are_refused(home, build):
    index = travels(build)

    def plan(**options):
        return make_plan(COMPLAINTS, index, server.url, num_examples=5, options=options)

    with TGIServer() as server:
        runs = {plan().run_id, plan(queries=list(QUERIES)).run_id, plan(queries=QUERIES, exclude_rows=["a#1"]).run_id}
        assert len(runs) == 3
        assert plan(queries=QUERIES).run_id in runs
        for wrong in ((), ("a", " ")):
            with pytest.raises(TaskError, match="expected texts to search for"):
                plan(queries=wrong)
