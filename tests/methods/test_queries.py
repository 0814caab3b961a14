"""Rows for given texts, in place of the task's own score."""

import numpy as np
import pytest

from rebase_hf.errors import TaskError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.rebase import ReBaseOptions
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


@pytest.mark.parametrize("exact", [True, False])
def test_rows_are_ranked_by_their_best_cosine_with_any_text(build, exact):
    index = travels(build)
    if not exact:
        index = RowIndex.open(index.path, encoder=HashingEncoder(), exact_below=0)
    encode = HashingEncoder().encode
    near = encode(QUERIES)
    ranking = rank_rows_near(index, embed_task(TASK, index), near, limit=30)
    assert ranking.complete == exact
    expected = {}
    for key in range(len(index)):
        cells = index.rows([key])[0].cells
        expected[key] = {name: float((encode([text]) @ near.T).max()) for name, text in cells.items()}
    best = {key: max(cosines.values()) for key, cosines in expected.items()}
    keys = ranking.keys[:30].tolist()
    assert ranking.scores[:30] == pytest.approx([best[key] for key in keys], abs=2e-3)
    assert (np.diff(ranking.scores) <= 0).all()
    assert min(best[key] for key in keys) >= sorted(best.values(), reverse=True)[29] - 2e-3
    names = index.sources[0].columns
    for key, column in zip(keys, ranking.columns[:30, 0], strict=True):
        assert expected[key][names[column]] == pytest.approx(best[key], abs=2e-3)


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
