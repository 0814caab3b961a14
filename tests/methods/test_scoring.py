import numpy as np
import pytest

from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.scoring import embed_task, rank_rows
from rebase_hf.task import Task
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder
from tests.methods.conftest import ChosenEncoder, made_word

WORDS = [made_word(i) for i in range(400)]
VOCABULARY = WORDS[:60]
JUNK = ("id", "flag", "count")


def sentence(chance: np.random.Generator, length: int) -> str:
    return " ".join(chance.choice(VOCABULARY, length))


def random_sources(rows: int = 40) -> dict[str, list[dict[str, object]]]:
    """Three sources of other schemas; some cells are missing, some rows have nothing that may compete."""
    chance = np.random.default_rng(5)
    sources: dict[str, list[dict[str, object]]] = {}
    for name, columns in {"alpha": ["text", "reply"], "beta": ["body"], "gamma": ["a", "b", "c"]}.items():
        sources[name] = [
            {
                "id": f"{name[0]}-{i:05d}",
                "flag": bool(i % 2),
                "count": i,
                **{
                    c: sentence(chance, int(chance.integers(1, 9))) if chance.random() > 0.15 else None
                    for c in columns
                },
            }
            for i in range(rows)
        ]
    return sources


W = WORDS
TASK = Task.load(
    {
        "name": "shorten",
        "instruction": f"{W[1]} {W[2]} {W[3]} shorten the text",
        "inputs": ["text", "hint"],
        "output": "short",
        "examples": [
            {"text": f"{W[4]} {W[5]} {W[6]} {W[7]}", "hint": W[8], "short": W[4], "rationale": f"{W[50]} {W[51]}"},
            {"text": f"{W[9]} {W[10]} true", "hint": f"{W[11]} {W[12]}", "short": f"{W[9]} 7", "rationale": W[52]},
            {"text": W[13], "hint": f"{W[14]} g", "short": f"false {W[16]}", "rationale": W[53]},
        ],
    }
)


def naive_scores(task: Task, index: RowIndex, *, junk: bool):
    """Return what the paper says, one cosine at a time: {key: (S, parts, {part: {column: mean cosine}})}."""

    def cosine(a: str, b: str) -> float:
        x, y = HashingEncoder().encode([a, b])
        return float(x @ y)

    found = {}
    for key in range(len(index)):
        row = index.rows([key])[0]
        cells = {name: text for name, text in row.cells.items() if junk or name not in JUNK}
        if not cells:
            continue
        means = {}
        for part, of in (("input", task.input_text), ("output", lambda example: example[task.output])):
            means[part] = {
                name: sum(cosine(of(example), text) for example in task.examples) / len(task.examples)
                for name, text in cells.items()
            }
        if not junk and len(cells) > 1:  # one cell does not stand for both
            del means["output"][max(means["input"], key=means["input"].__getitem__)]
        parts = (
            cosine(task.instruction, row.description),
            max(means["input"].values()),
            max(means["output"].values()),
        )
        found[key] = (sum(parts) / 3, parts, means)
    return found


@pytest.mark.parametrize("junk", [False, True])
def test_rows_are_ranked_by_the_papers_formula(build, junk):
    about = {name: f"{WORDS[2 * i]} {WORDS[i]} rows of {name}" for i, name in enumerate(("alpha", "beta", "gamma"))}
    index = build(random_sources(), about=about)
    ranking = rank_rows(index, embed_task(TASK, index), limit=10, junk=junk)
    expected = naive_scores(TASK, index, junk=junk)
    assert ranking.complete
    assert sorted(ranking.keys.tolist()) == sorted(expected)
    assert (len(expected) == len(index)) == junk
    assert (np.diff(ranking.scores) <= 0).all()
    decided = 0
    for key, score, parts, columns in zip(
        ranking.keys.tolist(), ranking.scores, ranking.parts, ranking.columns, strict=True
    ):
        s, own_parts, means = expected[key]
        assert score == pytest.approx(s, abs=2e-3)  # vectors are stored as float16
        assert parts == pytest.approx(own_parts, abs=2e-3)
        names = index.sources[int(index.sources_of([key])[0])].columns
        for part, column in zip(("input", "output"), columns, strict=True):
            best = max(means[part].values())
            close = {name for name, mean in means[part].items() if best - mean < 2e-3}
            assert names[column] in close
            decided += len(close) == 1
    assert decided > 150
    best = ranking.keys[:20].tolist()
    assert set(best[:10]) <= set(sorted(expected, key=lambda key: -expected[key][0])[:12])


def test_the_mean_over_examples_comes_before_the_maximum_over_columns(build):
    # Column `one` is like the first example only, `two` like the second only, `all` half like both.
    rows = [{"one": "q=.9 one", "two": "a=.9 two", "all": "q=.6 a=.6 all"}]

    class TwoExamples(ChosenEncoder):
        axes = {"q": 1, "a": 2}

    task = Task.load(
        {
            "name": "t",
            "instruction": "i",
            "examples": [{"input": "q=1", "output": "x x"}, {"input": "a=1", "output": "x x"}],
        }
    )
    index = build({"only": rows}, encoder=TwoExamples())
    ranking = rank_rows(index, embed_task(task, index), limit=1)
    assert index.sources[0].columns[ranking.columns[0, 0]] == "all"
    assert ranking.parts[0, 1] == pytest.approx(0.6, abs=2e-3)


def test_a_column_of_labels_stands_for_the_input_only_where_there_is_nothing_else(build):
    rows = [{"text": f"a letter about {made_word(i)}", "kind": "the whole question"} for i in range(10)]
    index = build({"mails": rows, "bare": [{"kind": "the whole question"}] * 10})
    task = Task.load(
        {
            "name": "t",
            "instruction": "i",
            "examples": [{"input": "the whole question", "output": "the whole question"}],
        }
    )
    for junk, expected in ((True, "kind"), (False, "text")):
        ranking = rank_rows(index, embed_task(task, index, junk=junk), limit=20, junk=junk)
        assert len(ranking.keys) == 20
        sources = [index.sources[source] for source in index.sources_of(ranking.keys)]
        won = {
            (source.dataset, source.columns[i], source.columns[o])
            for source, (i, o) in zip(sources, ranking.columns, strict=True)
        }
        assert won == {("mails", expected, "kind"), ("bare", "kind", "kind")}


def test_one_cell_stands_for_input_and_output_only_where_it_is_alone(build):
    both = "the whole question and its answer"
    index = build({"mails": [{"text": both, "rest": "something else"}, {"text": both}]})
    task = Task.load({"name": "t", "instruction": "i", "examples": [{"input": both, "output": both}]})
    names = index.sources[0].columns
    for junk, expected in ((True, ["text", "text"]), (False, ["text", "rest"])):
        ranking = rank_rows(index, embed_task(task, index, junk=junk), limit=2, junk=junk)
        won = {key: [names[c] for c in row] for key, row in zip(ranking.keys.tolist(), ranking.columns, strict=True)}
        assert won == {0: expected, 1: ["text", "text"]}


def test_a_column_of_answers_stands_for_the_output_and_no_title_does(build):
    row = {"title": "very far away", "text": "is the moon far", "answer": "some days of travel"}
    index = build({"claims": [row, row | {"answer": "17", "text": "is the sun far"}]})
    task = Task.load({"name": "t", "instruction": "i", "examples": [{"input": "is it far", "output": "very far"}]})
    names = index.sources[0].columns
    for junk, expected in ((True, ["title", "title"]), (False, ["answer", "title"])):  # a number says nothing
        ranking = rank_rows(index, embed_task(task, index, junk=junk), limit=2, junk=junk)
        won = dict(zip(ranking.keys.tolist(), ranking.columns[:, 1], strict=True))
        assert [names[won[key]] for key in (0, 1)] == expected


@pytest.mark.parametrize("approximate", [False, True])
def test_outputs_that_say_nothing_are_not_asked_with(build, approximate):
    rows = [{"text": text, "verdict": "no"} for text in ("b", "the moon is far", "c d", "nothing of it")]
    index = build({"claims": rows})
    if approximate:
        index = RowIndex.open(index.path, encoder=index.encoder, exact_below=0)
    said = {"name": "t", "instruction": "i"}
    some = [{"input": "is the moon far", "output": output} for output in ("B", "b", "yes")]
    queries = embed_task(Task.load({**said, "examples": some}), index)
    ranking = rank_rows(index, queries, limit=2)
    assert ranking.scored == queries.scored == ("instruction", "input")
    assert index.rows(ranking.keys[:1])[0].cells["text"] == "the moon is far"
    assert ranking.scores == pytest.approx(ranking.parts[:, :2] @ [1 / 3, 2 / 3], abs=1e-6)
    mixed = [{"input": "is the moon far", "output": output} for output in ("B", "very far")]
    alone = [{"input": "is the moon far", "output": "very far"}]
    of_mixed, of_one = (embed_task(Task.load({**said, "examples": given}), index) for given in (mixed, alone))
    assert of_mixed.scored == ("instruction", "input", "output")
    assert of_mixed.output == pytest.approx(of_one.output, abs=1e-6)
    assert embed_task(Task.load({**said, "examples": some}), index, junk=True).scored == of_mixed.scored


def test_equal_scores_go_by_key(build):
    index = build({"only": [{"text": "the same words"}] * 5})
    assert rank_rows(index, embed_task(TASK, index), limit=5).keys.tolist() == [0, 1, 2, 3, 4]


def test_rationales_are_no_part_of_the_queries(build):
    index = build({"only": [{"text": "the same words"}]})
    with_rationale = embed_task(TASK, index)
    bare = [{k: v for k, v in example.items() if k != "rationale"} for example in TASK.examples]
    without = embed_task(Task.load(TASK.to_dict() | {"examples": bare}), index)
    for name in ("instruction", "input", "output", "fields"):
        np.testing.assert_array_equal(getattr(with_rationale, name), getattr(without, name))


def test_queries_are_means_over_the_examples(build):
    index = build({"only": [{"text": "the same words"}]})
    queries, encode = embed_task(TASK, index), HashingEncoder().encode
    np.testing.assert_allclose(queries.input, encode([TASK.input_text(e) for e in TASK.examples]).mean(0), atol=1e-6)
    np.testing.assert_allclose(queries.output, encode([e["short"] for e in TASK.examples]).mean(0), atol=1e-6)
    expected = [encode([e[name] for e in TASK.examples]).mean(0) for name in TASK.inputs]
    np.testing.assert_allclose(queries.fields, expected, atol=1e-6)
    assert queries.fields.shape == (2, 48)


def test_a_label_without_an_example_is_looked_for_by_its_phrase(build):
    task = Task.load(
        {
            "name": "t",
            "instruction": "nothing of the kind",
            "labels": {"billing": "a payment", "delivery": "parcel courier late"},
            "examples": [{"input": "charged twice money", "output": "billing"}],
        }
    )
    rows = [{"text": "money charged"}, {"text": "parcel courier late"}]
    index = build({"only": rows})
    found = rank_rows(index, embed_task(task, index), limit=2)
    bare = rank_rows(index, embed_task(task, index, label_phrases=False), limit=2)
    at = found.keys.tolist().index(1)
    assert found.parts[at, 1] > 0.3
    assert bare.parts[bare.keys.tolist().index(1), 1] < 0.2


# --- the approximate path


def overlap_at(index: RowIndex, task: Task, limit: int, *, junk: bool = False) -> float:
    queries = embed_task(task, index)
    exact = rank_rows(index, queries, limit=len(index), junk=junk).keys[:limit]
    near = rank_rows(index, queries, limit=limit, junk=junk)
    assert not near.complete
    assert len(near.keys) == limit
    assert len(set(near.keys.tolist())) == limit
    return len(set(exact.tolist()) & set(near.keys.tolist())) / limit


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """6,000 rows in six sources, searched through the graph."""
    root = tmp_path_factory.mktemp("graph")
    chance = np.random.default_rng(2)
    paths = []
    for part in range(6):
        own = WORDS[part * 60 : part * 60 + 100]
        rows = [
            {
                "text": " ".join(chance.choice(own, 6)),
                "reply": " ".join(chance.choice(WORDS, 3)),
                "id": f"r-{part}{i:04d}",
            }
            for i in range(1000)
        ]
        paths.append(write_source(root / f"part{part}", rows, about=f"Rows of {' '.join(own[:5])}"))
    RowIndex.build(root / "index", paths, encoder=HashingEncoder())
    return RowIndex.open(root / "index", encoder=HashingEncoder(), exact_below=0)


@pytest.mark.parametrize("junk", [False, True])
def test_the_top_rows_are_those_of_exhaustive_scoring(graph, junk):
    assert graph.approximate
    assert overlap_at(graph, TASK, 1000, junk=junk) >= 0.98
    assert overlap_at(graph, TASK, 100, junk=junk) >= 0.98


def test_all_rows_are_ranked_where_as_many_are_asked_for(graph):
    ranking = rank_rows(graph, embed_task(TASK, graph), limit=len(graph))
    assert ranking.complete
    assert len(ranking.keys) == len(graph)


CHOSEN = Task.load(
    {"name": "chosen", "instruction": "i=1", "examples": [{"input": "q=1", "output": "a=1"}]},
)


def planted(count: int) -> dict[str, list[dict[str, str]]]:
    """Crowds that are first on one part and nothing else, and rows that are good on all three and first on none."""
    return {
        "inputs": [{"text": f"q=.9 {i}", "answer": f"a=.0 {i}"} for i in range(900)],
        "outputs": [{"text": f"q=.0 {i}", "answer": f"a=.9 {i}"} for i in range(900)],
        "idle": [{"text": f"q=.1 {i}", "answer": f"a=.1 {i}"} for i in range(900)],
        "planted": [{"text": f"q=.6 p{i}", "answer": f"a=.6 p{i}"} for i in range(count)],
    }


ABOUT = {"inputs": "i=.0 about", "outputs": "i=.0 of", "idle": "i=.95 idle", "planted": "i=.9 planted"}


@pytest.mark.parametrize(("count", "limit"), [(30, 30), (30, 60), (120, 100)])
def test_rows_that_are_good_on_all_parts_but_first_on_none_are_found(build, tmp_path, count, limit):
    build(planted(count), encoder=ChosenEncoder(), about=ABOUT)
    index = RowIndex.open(tmp_path / "index", encoder=ChosenEncoder(), exact_below=0)
    queries = embed_task(CHOSEN, index)
    hidden = set(index.source_keys(3))
    for query in (queries.input, queries.output, queries.input + queries.output):
        candidates, _, floor = index.nearest_rows(query, 4 * limit)
        assert not hidden & set(candidates.tolist())
        assert floor > 0.6
    found = rank_rows(index, queries, limit=limit).keys
    assert set(found[: min(count, limit)].tolist()) <= hidden
    exact = rank_rows(index, queries, limit=len(index))
    np.testing.assert_allclose(rank_rows(index, queries, limit=limit).scores, exact.scores[:limit], atol=1e-6)
