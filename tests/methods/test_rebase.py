import json
import logging
from collections import Counter
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetInfo, Features, Value

from rebase_hf.cli.planning import estimate_lines
from rebase_hf.cli.steps import generate_dataset
from rebase_hf.cli.trace import trace_row
from rebase_hf.errors import TaskError
from rebase_hf.estimate import estimate_run
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.method import Ground
from rebase_hf.methods.rebase import SAMPLING, drafts
from rebase_hf.methods.rebase_options import ReBaseOptions
from rebase_hf.methods.taking import taken_rows
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.rows import Draft, Dropped, RetrievedRow
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import answer_schema
from rebase_hf.teacher.writing_prompts import PLAN_CHARS, PLAN_ROWS
from tests.doubles.task_answers import shown_row
from tests.doubles.tgi_server import TGIServer
from tests.index.hashing_encoder import HashingEncoder
from tests.methods.conftest import ChosenEncoder, made_word

PUBLISHED = ReBaseOptions.as_published()
COMPLAINTS = {
    "name": "complaints",
    "instruction": "Decide which team handles the message of a customer",
    "labels": ["billing", "delivery"],
    "examples": [
        {"input": "I was charged twice in May", "output": "billing"},
        {"input": "My parcel never arrived here", "output": "delivery"},
    ],
}
TASK = Task.load(COMPLAINTS)


def rows_of(
    index: RowIndex, task: Task = TASK, options: ReBaseOptions | None = None, *, wanted: int = 100
) -> tuple[list[RetrievedRow], list[Dropped]]:
    guard = EvaluationGuard(task, task.evaluation_rows())
    found = list(taken_rows(task, index, guard, options or ReBaseOptions(), num_examples=wanted))
    assert len(found) == len({row.key if isinstance(row, RetrievedRow) else row.row.key for row in found})
    return [r for r in found if isinstance(r, RetrievedRow)], [r for r in found if isinstance(r, Dropped)]


def reasons(dropped: list[Dropped]) -> Counter[str]:
    assert all(one.stage == "retrieval" and one.detail and one.row is not None for one in dropped)
    return Counter(one.reason for one in dropped)


def sentences(count: int, *words: str, length: int = 8, seed: int = 0) -> list[str]:
    """Return sentences that share `words` and are otherwise no near duplicates of each other."""
    chance = np.random.default_rng(seed)
    return [" ".join([*words, *(made_word(int(n)) for n in chance.integers(0, 2000, length))]) for _ in range(count)]


# --- what is yielded


def test_rows_come_best_first_with_what_they_were_ranked_by(build):
    index = build({"mails": [{"text": text, "team": "billing desk"} for text in sentences(20, "charged", "parcel")]})
    taken, _ = rows_of(index)
    assert len(taken) == 20
    assert [row.score for row in taken] == sorted((row.score for row in taken), reverse=True)
    row = taken[0]
    assert row.score == pytest.approx(sum(row.parts.values()) / 3, abs=1e-6)
    assert set(row.parts) == {"instruction", "input", "output"}
    assert row.columns == {"input": "text", "output": "team"}
    assert index.rows([row.key])[0] == row.source


def test_each_input_field_gets_the_column_that_comes_nearest_to_it(build):
    task = Task.load(
        {
            "name": "qa",
            "instruction": "Answer",
            "inputs": ["notice", "question"],
            "output": "answer",
            "examples": [{"notice": "ferry storm harbour", "question": "when does it", "answer": "at nine"}],
        }
    )
    index = build({"faq": [{"a": "ferry in the harbour storm", "q": "when does it leave", "x": "at nine today"}]})
    (row,), _ = rows_of(index, task)
    assert row.fields["notice"] == "a"
    assert row.fields["question"] == "q"
    assert row.columns["output"] == "x"


def test_a_draft_asks_about_one_row(build):
    index = build({"mails": [{"text": "I was charged twice", "team": "billing desk"}]})
    guard = EvaluationGuard(TASK, [])
    (draft,) = drafts(Ground(TASK, index, guard, ReBaseOptions(), 10))
    assert isinstance(draft, Draft)
    assert (draft.schema, draft.sampling, draft.sample) == (answer_schema(TASK), SAMPLING, 0)
    assert draft.row is not None
    assert json.dumps(dict(draft.row.source.cells)) in draft.messages[0].content


def test_drafts_show_a_row_within_the_budget_of_the_options(build):
    index = build({"mails": [{"text": "charged in May " * 70, "team": "billing", "rest": "else " * 200}]})
    guard = EvaluationGuard(TASK, [])
    short = ReBaseOptions(row_chars=300)
    (draft,) = drafts(Ground(TASK, index, guard, short, 10))
    shown = json.loads(draft.messages[0].content.split("<row>\n")[1].split("\n</row>")[0])
    assert set(shown) == {"text", "team"}
    assert len(shown["text"]) < 300
    (draft,) = drafts(Ground(TASK, index, guard, PUBLISHED, 10))
    shown = json.loads(draft.messages[0].content.split("<row>\n")[1].split("\n</row>")[0])
    assert [len(text) for text in shown.values()] == [253, 7, 253]


def test_the_same_call_gives_the_same_rows(build):
    index = build({"mails": [{"text": text} for text in sentences(30, "charged")]})
    assert rows_of(index) == rows_of(index)


# --- the paper's failures, with the switch off and on


@pytest.mark.parametrize(
    ("column", "values", "example"),
    [
        ("flag", [True, False], {"input": "not false and true", "output": "False"}),
        ("count", [7, 12], {"input": "seven plus 7 or 12", "output": "12"}),
        ("tags", ["[0, 0, 7, 8]", "[0, 3, 0, 7]"], {"input": "add 0 and 7 and 8", "output": "0 7"}),
        ("id", ["q-0007", "q-0012"], {"input": "find q 0007 now", "output": "q 0012"}),
        ("letter", ["A", "B"], {"input": "choose a or b", "output": "B"}),
    ],
)
def test_junk_columns_do_not_compete(build, column, values, example):
    rows = [{column: values[i % 2], "text": text} for i, text in enumerate(sentences(20))]
    index = build({"mails": rows})
    task = Task.load({"name": "t", "instruction": "Solve", "examples": [example]})
    published, _ = rows_of(index, task, PUBLISHED)
    assert any(row.columns["output"] == column for row in published)
    mended, _ = rows_of(index, task)
    assert {row.columns[part] for row in mended for part in ("input", "output")} == {"text"}


def test_no_source_floods_the_top(build):
    flood = [{"text": text} for text in sentences(300, "charged", "twice", "parcel", "arrived", length=6)]
    sources: dict[str, Any] = {"flood": flood}
    for number in range(6):
        texts = sentences(40, "charged", length=8, seed=number + 1)
        sources[f"other{made_word(number)}"] = [{"text": text} for text in texts]
    index = build(sources)
    published, _ = rows_of(index, options=PUBLISHED)
    assert Counter(row.source.dataset for row in published[:100])["flood"] > 80
    taken, dropped = rows_of(index, wanted=100)
    # Twice an even share of 100 among seven, which is more than an eighth; the rest comes when all else is used up.
    assert set(Counter(row.source.dataset for row in taken[: 7 * 29]).values()) == {29}
    assert Counter(row.source.dataset for row in taken)["flood"] == 300
    assert "source_cap" not in reasons(dropped)
    _, dropped = rows_of(index, options=ReBaseOptions(max_per_source=29))
    assert reasons(dropped)["source_cap"] >= 300 - 29
    counts = Counter(row.source.dataset for row in rows_of(index, options=ReBaseOptions(max_per_source=5))[0])
    assert set(counts.values()) == {5}
    assert len(counts) == 7
    counts = Counter(row.source.dataset for row in rows_of(index, options=ReBaseOptions(max_per_source=0))[0])
    assert counts["flood"] > 250


def test_configurations_of_one_dataset_share_its_cap(tmp_path):
    def config(name: str, seed: int) -> Dataset:
        info = DatasetInfo(dataset_name="multi", config_name=name, license="mit")
        return Dataset.from_list([{"text": text} for text in sentences(20, "charged", seed=seed)], info=info)

    index = RowIndex.build(tmp_path / "index", [config("fa", 1), config("hi", 2)], encoder=HashingEncoder())
    taken, _ = rows_of(index, options=ReBaseOptions(max_per_source=6))
    assert len(taken) == 6
    assert len({row.source.config for row in taken}) == 2


def test_one_corpus_under_two_names_is_taken_once(build):
    texts = sentences(40, "charged", "twice", length=14)
    index = build(
        {
            "counterfactual": [{"text": text, "label": i % 2} for i, text in enumerate(texts)],
            "mtebcounterfactual": [
                {"sentence": text.upper() + ".", "label": i % 2, "label_text": "not so"}
                for i, text in enumerate(texts)
            ],
        }
    )
    published, _ = rows_of(index, options=PUBLISHED)
    assert len(published) == 80
    taken, dropped = rows_of(index, options=ReBaseOptions(max_per_source=0))
    assert len({row.source.row for row in taken}) == len(taken) == 40
    assert reasons(dropped) == {"near_duplicate_row": 40}


def test_near_duplicate_rows_are_left_out(build):
    texts = [f"{text} end{ending}" for text in sentences(10, "charged", length=20) for ending in ("ing", "ed", "s")]
    index = build({"mails": [{"text": text} for text in texts]})
    unlimited = ReBaseOptions(max_per_source=0)
    assert len(rows_of(index, options=unlimited)[0]) == 10
    assert len(rows_of(index, options=ReBaseOptions(max_per_source=0, near_duplicate_rows=1.0))[0]) == 30
    assert len(rows_of(index, options=PUBLISHED)[0]) == 30


def test_the_tasks_own_family_is_not_retrieved(build, caplog):
    names = ["multi_nli", "snli", "scitail"]
    index = build({name: [{"text": t} for t in sentences(5, "charged", seed=i)] for i, name in enumerate(names)})
    task = Task.load(COMPLAINTS | {"name": "mnli"})
    with caplog.at_level(logging.WARNING, logger="rebase_hf.methods.excluded"):
        taken, dropped = rows_of(index, task)
    assert {row.source.dataset for row in taken} == {"scitail"}
    assert reasons(dropped) == {"own_family": 10}
    warned = [record.getMessage() for record in caplog.records if record.name == "rebase_hf.methods.excluded"]
    assert [message.split("`")[1] for message in warned] == ["multi_nli", "snli"]
    assert len(rows_of(index, task, ReBaseOptions(exclude_family=False))[0]) == 15


def test_a_configuration_may_be_the_tasks_own(tmp_path):
    def config(name: str) -> Dataset:
        info = DatasetInfo(dataset_name="glue", config_name=name, license="mit")
        return Dataset.from_list([{"text": text} for text in sentences(5, seed=len(name))], info=info)

    index = RowIndex.build(tmp_path / "index", [config("mnli"), config("rotten")], encoder=HashingEncoder())
    taken, _ = rows_of(index, Task.load(COMPLAINTS | {"name": "mnli"}))
    assert {row.source.config for row in taken} == {"rotten"}


HELD = "The blue kettle that my mother ordered for her birthday party came without its lid on Friday"


def test_rows_that_overlap_the_evaluation_set_are_left_out(build, write_rows):
    path = write_rows([{"input": HELD, "output": "delivery"}, {"input": "So very late!", "output": "delivery"}])
    task = Task.load(COMPLAINTS | {"evaluation": path})
    rows = [
        {"text": f"They wrote: {' '.join(HELD.split()[1:14]).upper()}! That is all.", "note": "by words"},
        {"text": "nothing here to be seen", "note": "so VERY late"},
        {"text": "It came so very late and I am sad about it", "note": "innocent one"},
        {"text": "The kettle came without a lid, says my mother on Friday", "note": "innocent two"},
    ]
    index = build({"mails": rows})
    taken, dropped = rows_of(index, task)
    assert reasons(dropped) == {"in_evaluation_set": 2}
    details = sorted(one.detail for one in dropped)
    assert details[0] == "`note` is an evaluation text"
    assert details[1].startswith("`text` shares with an evaluation text: blue kettle that my mother")
    assert {row.source.cells["note"] for row in taken} == {"innocent one", "innocent two"}
    assert len(rows_of(index, task, ReBaseOptions(guard_evaluation=False))[0]) == 4
    assert len(rows_of(index, task, PUBLISHED)[0]) == 4


def test_a_row_may_be_too_similar_though_it_shares_no_words(build, write_rows):
    path = write_rows([{"input": "i=.0 q=.6 a=.8 the evaluation text itself", "output": "delivery"}])
    task = Task.load(COMPLAINTS | {"evaluation": path})
    rows = [{"text": "q=.62 a=.78 some paraphrase"}, {"text": "q=.9 a=.2 innocent"}]
    index = build({"mails": rows}, encoder=ChosenEncoder())
    taken, dropped = rows_of(index, task)
    assert reasons(dropped) == {"in_evaluation_set": 1}
    assert dropped[0].detail.startswith("a cell has the similarity 0.9")
    assert "innocent" in taken[0].source.cells["text"]


def test_similarity_is_looked_at_beyond_the_first_evaluation_texts(build, write_rows):
    held = [{"input": f"a text about {text}", "output": "billing"} for text in sentences(700, length=4)]
    path = write_rows([*held, {"input": "q=.6 a=.8 the evaluation text itself", "output": "delivery"}])
    index = build({"mails": [{"text": "q=.62 a=.78 some paraphrase"}]}, encoder=ChosenEncoder())
    _, dropped = rows_of(index, Task.load(COMPLAINTS | {"evaluation": path}))
    assert reasons(dropped) == {"in_evaluation_set": 1}


def test_one_word_that_is_an_evaluation_text_spares_the_rows_that_have_it_as_a_label(build, write_rows):
    task = Task.load(COMPLAINTS | {"evaluation": write_rows([{"input": "Positive", "output": "billing"}])})
    index = build({"mails": [{"text": text, "mood": "positive"} for text in sentences(4, "charged")]})
    assert len(rows_of(index, task)[0]) == 4


def test_class_ids_are_decoded_only_where_they_are_class_ids(tmp_path):
    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["billing team", "delivery team"]),
            "pair_id": Value("int64"),
        }
    )
    rows = [{"text": text, "label": i % 2, "pair_id": i % 2} for i, text in enumerate(sentences(6, "charged"))]
    data = Dataset.from_list(rows, features=features, info=DatasetInfo(license="mit", features=features))
    index = RowIndex.build(tmp_path / "index", [data], encoder=HashingEncoder())
    taken, _ = rows_of(index)
    assert {(row.source.cells["label"], row.source.cells["pair_id"]) for row in taken} == {
        ("billing team", "0"),
        ("delivery team", "1"),
    }
    assert {row.columns["output"] for row in taken} == {"label"}


def test_max_rows_counts_what_is_looked_at_but_not_the_own_family(build):
    own = [{"text": f"I was charged twice in May {made_word(i)}"} for i in range(10)]
    index = build(
        {"complaints": own, "mails": [{"text": text} for text in sentences(30, "charged", seed=9)]},
        about={"complaints": "which team handles the message", "mails": "something else"},
    )
    taken, dropped = rows_of(index, options=ReBaseOptions(max_rows=8))
    assert len(taken) == 8
    assert reasons(dropped) == {"own_family": 10}


# --- more rows than the first search brings


@pytest.mark.parametrize("exact_below", [0, 100_000])
def test_every_row_comes_once_however_far_the_search_must_go(build, tmp_path, exact_below):
    sources = {
        f"mails{made_word(n)}": [{"text": text} for text in sentences(700, "charged", seed=n)] for n in range(4)
    }
    build(sources)
    index = RowIndex.open(tmp_path / "index", encoder=HashingEncoder(), exact_below=exact_below)
    assert index.approximate == (exact_below == 0)
    unlimited = ReBaseOptions(max_per_source=0, near_duplicate_rows=None)
    taken, dropped = rows_of(index, options=unlimited, wanted=10)
    assert len(taken) == 2800
    assert dropped == []


def planning(request, call):
    """Answer as a teacher that plans first, and finds rows with `idle` of no use."""
    prompt = request["messages"][0]["content"]
    if request["response_format"]["value"]["required"] == ["plan"]:
        return json.dumps({"plan": f"1. Take the text. 2. Judge it. ({prompt.count('charged')})"})
    text = shown_row(request)["text"]
    if "idle" in text:
        return json.dumps({"usable": "no", "input": "", "output": ""})
    return json.dumps({"usable": "yes", "input": f"{text} rewritten", "output": "billing"})


@pytest.mark.slow
def test_a_plan_is_asked_for_once_a_dataset_and_stands_in_every_prompt(home, build):
    rows = {
        "calls": [{"text": text} for text in (*sentences(5, "charged", seed=1), *sentences(2, "idle", seed=2))],
        "mails": [{"text": text} for text in sentences(4, "charged", seed=3)],
    }
    index = build(
        rows, about={"calls": "Calls of customers to the hotline of a shop.", "mails": "Mails of customers to a shop."}
    )
    with TGIServer(answer=planning) as server:
        plan = make_plan(COMPLAINTS, index, server.url, num_examples=20, options={"plan": True})
        run = Run(plan)
        examples = list(run.examples())
        plans = [r for r in server.chat_requests if r["response_format"]["value"]["required"] == ["plan"]]
        others = [r for r in server.chat_requests if r not in plans]
    assert len(plans) == 2 and {("hotline" in p["messages"][0]["content"]) for p in plans} == {True, False}
    assert len(others) == 11 and all("1. Take the text." in r["messages"][0]["content"] for r in others)
    assert len(examples) == 9 and run.tally().dropped == {"row_not_usable": 2}
    again = make_plan(COMPLAINTS, index, server.url, num_examples=21, options={"plan": True})
    assert estimate_run(again).requests == 0


def test_the_rows_that_a_plan_was_made_from_are_sources_of_what_is_made_by_it(home, build):
    index = build({"calls": [{"text": text} for text in sentences(6, "charged", seed=1)]})
    with TGIServer(answer=planning) as server:
        plan = make_plan(COMPLAINTS, index, server.url, num_examples=6, options={"plan": True})
        examples = list(Run(plan).examples())
        (asked,) = (r for r in server.chat_requests if r["response_format"]["value"]["required"] == ["plan"])
    shown = {row.row for row in index.rows(range(6)) if row.cells["text"] in asked["messages"][0]["content"]}
    assert len(shown) == PLAN_ROWS and len(examples) == 6
    for example in examples:
        own, *others = example.sources
        assert (own["role"], own["row"]) == ("context", example.provenance["row"])
        assert {(one["role"], one["row"]) for one in others} == {("shot", row) for row in shown - {own["row"]}}
        assert all(one["dataset"] == own["dataset"] and one["license"] == own["license"] for one in others)


def test_a_trace_tells_the_plan_that_a_row_was_asked_about_with(home, build, tmp_path):
    index = build({"calls": [{"text": text} for text in sentences(4, "charged", seed=1)]})
    with TGIServer(answer=planning) as server:
        plan = make_plan(COMPLAINTS, index, server.url, num_examples=4, options={"plan": True})
        generate_dataset(plan, tmp_path / "run", num_validation=0, command="")
    first, own = trace_row(tmp_path / "run", "0")["requests"]
    assert (first["part"], own["part"]) == ("before", "decided")
    assert json.loads(first["answer"]["text"])["plan"] in own["messages"][0]["content"]


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_a_dry_run_prices_prompts_with_a_plan_in_them(home, build, share):
    """Until there are plans with the longest that is used; then with those that the journal has."""

    def at_length(request, call):
        said = planning(request, call)
        return json.dumps({"plan": "Take it. " * int(share * PLAN_CHARS / 9)}) if '"plan"' in said else said

    texts = {"calls": sentences(30, "charged", seed=1), "mails": sentences(30, "charged", seed=2)}
    with TGIServer(answer=at_length) as server:

        def plan(number):
            options = {"plan": True, "max_per_source": 30}
            return make_plan(COMPLAINTS, index, server.url, num_examples=number, options=options)

        def executed(number):
            estimate, run = estimate_run(plan(number)), Run(plan(number))
            list(run.execute())
            return estimate, run.usage()

        index = build({name: [{"text": text} for text in some] for name, some in texts.items()})
        fresh, counted = executed(20)
        assert abs(fresh.requests - counted["requests"]) <= 3 and fresh.supposed == 2
        told = "\n".join(estimate_lines(fresh))
        assert "Approximate: 2 answers" in told
        if share == 1.0:
            assert counted["prompt_tokens"] * 0.8 <= fresh.prompt_tokens <= counted["prompt_tokens"] * 1.2
        else:
            assert fresh.prompt_tokens > counted["prompt_tokens"]
        more, counted = executed(40)
        assert abs(more.requests - counted["requests"]) <= 3 and (more.supposed, more.answered) == (0, 20)
        assert counted["prompt_tokens"] * 0.8 <= more.prompt_tokens <= counted["prompt_tokens"] * 1.2
        assert "Approximate" not in "\n".join(estimate_lines(more))


def test_a_plans_question_shows_no_evaluation_row(home, build, write_rows):
    texts = sentences(8, "charged", seed=1)
    index = build({"calls": [{"text": text} for text in texts]})
    held = write_rows([{"input": text, "output": "billing"} for text in texts[:2]])
    with TGIServer(answer=planning) as server:
        plan = make_plan(COMPLAINTS | {"evaluation": held}, index, server.url, num_examples=4, options={"plan": True})
        list(Run(plan).examples())
        asked = [request["messages"][0]["content"] for request in server.chat_requests]
    assert asked and not any(text in prompt for text in texts[:2] for prompt in asked)
    assert all(any(text in prompt for prompt in asked) for text in texts[2:5])


def test_who_can_make_no_plan_is_not_asked_for_one(build):
    labelled = {"name": "u", "instruction": "Is it?", "inputs": ["text"], "labels": ["yes", "no"]}
    task = labelled | {"output": "usable", "examples": [{"text": "a hammer", "usable": "yes"}]}
    with pytest.raises(TaskError, match="has a field of that name"):
        make_plan(task, None, "http://127.0.0.1:9", options={"plan": True})
    task = labelled | {"examples": [{"text": "a hammer", "output": "yes"}]}
    with pytest.raises(TaskError, match="makes no `plan`"):
        make_plan(task, None, "few-shot", options={"plan": True})
