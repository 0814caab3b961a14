import json
import logging

import numpy as np
import pytest

from rebase_hf.errors import StudentError
from rebase_hf.methods.grounded_text import grounded_input, grounded_target, passage_text
from rebase_hf.rows import Example
from rebase_hf.students import compare, load_student, train_student
from rebase_hf.students.consulting import ConsultedStudent
from rebase_hf.students.grounded_training import training_texts
from rebase_hf.students.reading import Reading, settle
from rebase_hf.students.reranker_training import RerankerOptions
from rebase_hf.students.student import TrainingRow, training_rows
from rebase_hf.students.training_passages import Apart, completed_rows
from tests.students.grounded_data import make_index, make_rows, make_task

LABELS = ("yes", "no")
QUESTIONS = ["can pearl float", "can ruby float", "can garnet float"]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("stones") / "stones-index")


@pytest.fixture(scope="module")
def options(tiny_bert):
    return {"reranker_model": tiny_bert, "reading": Reading(votes=3, max_tokens=16)}


@pytest.fixture(scope="module")
def saved(index, options, tiny_t5, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grounded") / "student"
    student = train_student(
        make_task(), make_rows(), base_model=tiny_t5, index=index, **options, max_pairs=80, output_dir=folder
    )
    return student, folder


def test_rows_with_passages_make_a_student_that_reads(saved):
    student, _ = saved
    assert student.kind == "grounded"
    assert student.reading == Reading(passages=1, votes=3, max_tokens=16)
    assert student.facts["train_rows"] == 18, "two rationales of nine questions; the example has none"
    assert student.facts["questions"] == 9
    assert student.facts["reranker"]["shown"] == 20, "a quarter of the rows that the student was shown"


def test_all_rationales_of_a_question_are_kept_and_without_passages_one():
    task, rows = make_task(), make_rows()
    assert len(training_rows(task, rows, include_examples=False)) == 18
    assert len(training_rows(task, [*rows, rows[0]], include_examples=False)) == 18
    bare = [{name: row[name] for name in ("question", "answer", "rationale")} for row in rows]
    assert len(training_rows(task, bare, include_examples=False)) == 9


def test_rows_that_are_to_be_read_without_passages_get_none(index, options, tiny_t5):
    task = make_task()
    rows = [{**row, "passages": [] if "amber" in row["question"] else row["passages"]} for row in make_rows()]
    read = training_rows(task, rows, include_examples=False)
    completed = completed_rows(task, read, index, Reading(passages=1), Apart(task, read))
    assert [row.passages for row in completed] == [tuple(row["passages"]) for row in rows]
    none = [{**row, "passages": []} for row in make_rows()]
    student = train_student(task, none, base_model=tiny_t5, **options, max_pairs=8)
    assert (student.kind, student.reading.passages) == ("grounded", 0), "reasoning distillation, as kard makes it"


def test_a_passage_that_holds_the_question_is_not_learnt_from():
    task = make_task()
    row = TrainingRow({"question": "what is said: amber is light", "answer": "yes"}, "amber is light, so yes")
    allowed = Apart(task, [row]).allowed(row)
    assert allowed("amber is light")
    assert not allowed("Somebody asked: what is said:  AMBER is light? yes")
    assert not allowed("Amber is light, so yes")


def test_passages_come_along_from_examples_and_records():
    row = make_rows()[0]
    example = Example(
        {name: row[name] for name in ("question", "answer")}, row["rationale"], {}, passages=tuple(row["passages"])
    )
    for given in (row, example):
        [read] = training_rows(make_task(), [given], include_examples=False)
        assert read.passages == ("amber is light",)
        assert read.rationale == "so amber is light"


class Recording:
    """Stands before a tokenizer and keeps what it is given to read."""

    def __init__(self, tokenizer):
        self.tokenizer, self.read = tokenizer, []

    def __call__(self, texts, **options):
        self.read.extend(texts)
        return self.tokenizer(texts, **options)

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


def test_it_reads_the_same_bytes_in_training_and_at_inference(saved):
    task, [row, *_] = make_task(), training_rows(make_task(), make_rows(), include_examples=False)
    [(read, written)] = training_texts(task, [row], Reading(passages=1), reasoning=True)
    student = saved[0].reading_as(votes=1)
    student.tokenizer = Recording(student.tokenizer)
    [found] = student.predict_with_evidence([row.fields["question"]], rationales=[row.rationale])
    assert [passage.text for passage in found.passages] == list(row.passages)
    assert student.tokenizer.read == [read]
    assert read == (
        "Does it float?\n\nquestion: can amber float\nOptions: yes, no\nKnowledge: amber is light\nExplanation:"
    )
    assert written == "so amber is light\nAnswer: yes"


def test_the_same_input_gets_the_same_answer_whatever_stands_beside_it(saved):
    student, _ = saved
    alone = [student.predict_with_evidence([question])[0] for question in QUESTIONS]
    assert student.predict_with_evidence(QUESTIONS[::-1])[::-1] == alone
    assert student.predict(QUESTIONS) == [found.answer for found in alone]
    assert {len(found.written) for found in alone} == {3}
    assert any(len(set(found.written)) > 1 for found in alone), "sampled, not one text three times"
    again = student.reading_as(seed=1).predict_with_evidence(QUESTIONS)
    assert [found.written for found in again] != [found.written for found in alone]


def test_predicting_draws_nothing_from_the_global_generator(saved):
    import torch

    torch.manual_seed(5)
    state = torch.get_rng_state()
    saved[0].predict(QUESTIONS[:1])
    assert torch.equal(torch.get_rng_state(), state)


def test_one_vote_is_the_likeliest_text_whatever_the_seed(saved):
    student = saved[0].reading_as(votes=1)
    [one] = student.predict_with_evidence(QUESTIONS[:1])
    [other] = student.reading_as(seed=9).predict_with_evidence(QUESTIONS[:1])
    assert one.written == other.written
    assert len(one.written) == 1


def test_passages_come_with_their_source_and_score(saved, index):
    student, _ = saved
    [found] = student.predict_with_evidence(["can opal float"])
    [passage] = found.passages
    assert passage.text == passage_text(index.rows([passage.key])[0])
    assert (passage.source.dataset, passage.source.license) == ("stones", "mit")
    assert -1.0 <= passage.score <= 1.0 + 1e-6
    assert passage.bm25 > 0


def test_candidates_are_the_rows_of_bm25_and_the_reranker_orders_them(saved, index):
    student = saved[0].reading_as(candidates=8, passages=8)
    question = "can opal float in the shop"
    [(keys, scores)] = index.words().search([question], 8)
    [found] = student.retrieve([question])
    assert {passage.key for passage in found} == set(keys.tolist())
    assert {passage.key: passage.bm25 for passage in found} == dict(zip(keys.tolist(), scores.tolist(), strict=True))
    expected = student.reranker.scores(question, [passage.text for passage in found])
    assert [passage.score for passage in found] == pytest.approx(expected.tolist(), abs=1e-5)
    assert list(expected) == sorted(expected, reverse=True)
    [first] = student.reading_as(passages=1).retrieve([question])
    assert first == found[:1]


def test_silver_passages_are_found_by_the_rationale_without_the_reranker(saved, index):
    student, _ = saved
    rationale = "pearl in the shop"
    [found] = student.predict_with_evidence(["can ruby float"], rationales=[rationale])
    assert [passage.text for passage in found.passages] == [rationale]
    assert student.predict(["can ruby float"], rationales=[rationale]) == [found.answer]


@pytest.mark.parametrize(
    ("rationales", "message"), [(["one", "two"], "`rationales` is 2 of them for 1 inputs"), ("one", "is one text")]
)
def test_there_is_one_rationale_an_input(saved, rationales, message):
    with pytest.raises(StudentError, match=message):
        saved[0].predict(["can ruby float"], rationales=rationales)


def test_below_the_threshold_no_passage_is_read_and_the_threshold_is_saved(saved, tmp_path):
    student, index = saved[0], saved[0].index
    asked = ["is garnet in the shop", "can ruby float"]
    near = [float(index.words().search([question], 1)[0][1][0]) for question in asked]
    assert near[0] > near[1]
    chosen = student.reading_as(threshold=(near[0] + near[1]) / 2)
    found = chosen.predict_with_evidence(asked)
    assert [bool(one.passages) for one in found] == [True, False]
    assert [one.nearness for one in found] == pytest.approx(near)
    [silver] = chosen.predict_with_evidence(asked[1:], rationales=["ruby is heavy"])
    assert silver.passages
    loaded = load_student(chosen.save(tmp_path / "chosen"))
    assert loaded.reading == chosen.reading
    assert loaded.predict_with_evidence(QUESTIONS) == chosen.predict_with_evidence(QUESTIONS)


def test_saved_and_loaded_it_predicts_the_same(saved):
    student, folder = saved
    loaded = load_student(folder)
    assert loaded.predict_with_evidence(QUESTIONS) == student.predict_with_evidence(QUESTIONS)
    assert (loaded.kind, loaded.reading) == ("grounded", student.reading)


def test_nothing_saved_is_a_pickle_or_names_this_machine_but_one_file(saved, index, tiny_t5, tiny_bert):
    _, folder = saved
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".txt", ".yaml"}
    naming = [
        file.name
        for file in files
        if any(str(path).encode() in file.read_bytes() for path in (index.path.parent, tiny_t5, tiny_bert, folder))
    ]
    assert naming == ["local.json"]
    facts = json.loads((folder / "training.json").read_text())
    assert facts["index"] == {
        "name": "stones-index",
        "hub": None,
        "revision": None,
        "fingerprint": index.fingerprint,
        "rows": 24,
    }


def test_without_its_index_it_says_which_one_to_give(saved, index, tmp_path):
    import shutil

    _, folder = saved
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "local.json").unlink()
    with pytest.raises(StudentError, match=rf"`stones-index` \(24 rows, fingerprint {index.fingerprint[:12]}\)"):
        load_student(copy)
    assert load_student(copy, index=index.path).predict(QUESTIONS) == saved[0].predict(QUESTIONS)
    (copy / "local.json").write_text(json.dumps({"index": str(tmp_path / "gone")}))
    with pytest.raises(StudentError, match="not at hand"):
        load_student(copy)


def test_an_index_that_changed_is_not_taken_for_the_one_it_was_trained_with(saved, tmp_path, caplog):
    import shutil

    from datasets import Dataset, DatasetInfo

    from rebase_hf.index.row_index import RowIndex
    from tests.index.hashing_encoder import HashingEncoder

    source = Dataset.from_dict({"text": ["another stone"]}, info=DatasetInfo(dataset_name="other", license="mit"))
    other = RowIndex.build(tmp_path / "other", [source], encoder=HashingEncoder())
    copy = shutil.copytree(saved[1], tmp_path / "copy")
    (copy / "local.json").write_text(json.dumps({"index": str(other.path)}))
    with pytest.raises(StudentError, match="is another index by now"):
        load_student(copy)
    with caplog.at_level(logging.WARNING):
        student = load_student(copy, index=other)
    assert "another index than the one given" in caplog.text
    [found] = student.predict_with_evidence(["can a stone float"])
    assert [passage.text for passage in found.passages] == ["another stone"]


def test_a_student_of_another_kind_reads_no_index(tiny_t5, index, tmp_path):
    train_student(make_task(), make_rows(), kind="seq2seq", base_model=tiny_t5, max_pairs=8, output_dir=tmp_path / "s")
    assert load_student(tmp_path / "s").facts["train_rows"] == 10
    with pytest.raises(StudentError, match="reads no index"):
        load_student(tmp_path / "s", index=index)


@pytest.mark.parametrize(("kind", "message"), [("casual", "did you mean `causal`"), ("extractive", "can't do task")])
def test_a_kind_that_does_not_fit_is_refused(kind, message):
    with pytest.raises(StudentError, match=message):
        train_student(make_task(), make_rows(), kind=kind)


def test_without_an_index_or_rationales_it_is_not_trained(tiny_t5, index, options):
    with pytest.raises(StudentError, match="there is no index to find them in"):
        train_student(make_task(), make_rows(), base_model=tiny_t5)
    bare = [{**row, "rationale": None} for row in make_rows()]
    with pytest.raises(StudentError, match="has a `rationale`"):
        train_student(make_task(), bare, base_model=tiny_t5, index=index, **options)


def test_reasoning_distillation_reads_no_passages_and_needs_no_index(tiny_t5, options, tmp_path):
    without = options | {"knowledge": False}
    student = train_student(
        make_task(), make_rows(), base_model=tiny_t5, **without, max_pairs=8, output_dir=tmp_path / "s"
    )
    assert (student.reading.passages, student.index, student.reranker) == (0, None, None)
    student.tokenizer = Recording(student.tokenizer)
    assert student.predict_with_evidence(["can opal float"])[0].passages == ()
    assert "Knowledge" not in student.tokenizer.read[0]
    assert load_student(tmp_path / "s").predict(QUESTIONS) == student.predict(QUESTIONS)
    with pytest.raises(StudentError, match="reads no passages"):
        student.predict(["x"], rationales=["y"])


def test_the_answer_alone_is_learnt_once_a_question():
    task = make_task()
    rows = training_rows(task, make_rows(), include_examples=False)
    [(read, written)] = training_texts(task, rows[:1], Reading(passages=0), reasoning=False)
    assert written == "Answer: yes" == grounded_target("", "yes")
    assert read == grounded_input(task, rows[0].fields, ())


def test_answers_alone_are_trained_on_each_question_once(tiny_t5, options):
    without = options | {"knowledge": False, "reasoning": False}
    student = train_student(make_task(), make_rows(), base_model=tiny_t5, **without, max_pairs=8)
    assert student.facts["train_rows"] == 10, "nine questions and the example"


def test_its_reranker_is_measured_on_questions_it_was_not_trained_on(index, options, tiny_t5, caplog):
    rows = [{**row, "question": f"{row['question']} {place // 2}"} for place, row in enumerate(make_rows() * 3)]
    brief = options | {"reranker": RerankerOptions(most_shown=1)}
    with caplog.at_level(logging.WARNING):
        student = train_student(
            make_task(), rows, base_model=tiny_t5, index=index, **brief, max_pairs=8, include_examples=False
        )
    told = student.facts["reranker"]["held_out"]
    assert student.facts["questions"] == 27
    assert student.facts["reranker"]["pools"] == 2 * 24, "the rationales of three questions are held out"
    assert told["questions"] == 3
    assert max(told["bm25"], told["reranker"]) <= told["best"]
    assert ("chooses worse passages than BM25" in caplog.text) == (told["reranker"] < told["bm25"])


def test_its_votes_are_how_sure_it_is(saved):
    student, _ = saved
    shares = student.predict_proba(QUESTIONS)
    for row, found in zip(shares, student.predict_with_evidence(QUESTIONS), strict=True):
        expected = [found.votes.get(label, 0) / sum(found.votes.values()) if found.votes else 0.5 for label in LABELS]
        assert row.tolist() == expected
    label, share = ConsultedStudent(str(saved[1]), "floats", make_task())([{"question": QUESTIONS[0]}])[0]
    assert (label, share) == (LABELS[int(shares[0].argmax())], shares[0].max())


def test_evaluation_tells_votes_and_reading_beside_the_metrics(saved):
    student, _ = saved
    rows = [{"question": question, "answer": "no"} for question in QUESTIONS]
    scores = student.evaluate(rows)
    found = student.predict_with_evidence(QUESTIONS)
    assert scores["accuracy"] == np.mean([one.answer == "no" for one in found])
    assert scores["unreadable_share"] == pytest.approx(sum(one.unreadable for one in found) / 9)
    assert scores["vote_share"] == pytest.approx(sum(one.votes.get(one.answer, 0) for one in found) / 9)
    assert scores["retrieved_share"] == 1.0
    assert student.reading_as(threshold=1e9).evaluate(rows)["retrieved_share"] == 0.0


def test_a_passage_that_gives_an_evaluation_row_away_is_not_read_when_it_is_scored(saved):
    student = saved[0].reading_as(votes=1)
    student.tokenizer = Recording(student.tokenizer)
    student.predict(["jade is heavy"], rationales=["jade is heavy"])
    student.evaluate([{"question": "jade is heavy", "answer": "no"}], rationales=["jade is heavy"])
    asked, scored = student.tokenizer.read
    assert "Knowledge: jade is heavy\n" in asked
    assert "Knowledge: jade in the shop\n" in scored


def test_comparison_sets_it_beside_reasoning_without_passages(index, options, tiny_t5):
    rows = [{"question": question, "answer": "no"} for question in QUESTIONS]
    compared = compare(
        make_task(),
        make_rows(),
        seeds=(0,),
        max_pairs=8,
        base_model=tiny_t5,
        evaluation=rows,
        index=index,
        **options | {"reranker": RerankerOptions(most_shown=2)},
    )
    report = compared.to_report()
    assert set(report["baselines"]) == {"reasoning_only", "few_examples", "majority"}
    assert set(report["student"]) == {"accuracy", "macro_f1"}
    assert set(report["baselines"]["reasoning_only"]) == set(report["student"])
    assert set(report["reading"]) == {"vote_share", "unreadable_share", "retrieved_share"}
    assert compared.student.reading.passages == 1


LABELLED = make_task()
FREE = make_task(labels={}, examples=[{"question": "how many", "answer": "4"}])


@pytest.mark.parametrize(
    ("task", "written", "answer", "votes"),
    [
        (LABELLED, ["a Answer: no", "b Answer: yes", "c\nAnswer: Yes."], "yes", {"no": 1, "yes": 2}),
        (LABELLED, ["Answer: no", "Answer: yes"], "no", {"no": 1, "yes": 1}),
        (LABELLED, ["yes, surely yes", "Answer: maybe", "Answer: no"], "no", {"no": 1}),
        (LABELLED, ["it is no; or rather Yes, not nothing", "Answer: maybe"], "yes", {}),
        (LABELLED, ["noyes", "yes"], "no", {}),
        (FREE, ["so Answer: 5", "Answer: 4", "Answer: 4."], "4", {"5": 1, "4": 2}),
        (FREE, ["so Answer: 1,200", "Answer: 7", "Answer: 1200.0"], "1,200", {"1,200": 2, "7": 1}),
        (FREE, ["it is 7 ", "8"], "it is 7", {}),
        (FREE, ["well. Answer:", "8"], "", {}),
    ],
)
def test_the_most_frequent_answer_wins_the_first_of_equals_and_what_can_t_be_read_has_no_vote(
    task, written, answer, votes
):
    assert settle(task, written, usual="no") == (answer, votes)


def test_of_labels_that_end_at_one_place_the_longest_is_meant():
    task = make_task(labels=["entailment", "not entailment"], examples=[{"question": "x", "answer": "entailment"}])
    assert settle(task, ["this is not entailment"])[0] == "not entailment"
    assert settle(task, ["nothing"])[0] == "entailment", "the first label, where training tells of none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"votes": 0}, "`votes` is 0; expected a whole number, 1 or more"),
        ({"top_p": 0.0}, "`top_p` is 0.0"),
        ({"threshold": float("inf")}, "`threshold` is inf"),
        ({"passages": 200}, "200 passages can't be chosen from 100"),
    ],
)
def test_numbers_that_nothing_can_be_read_by_are_refused(saved, change, message):
    with pytest.raises(StudentError, match=message):
        saved[0].reading_as(**change)


def test_a_damaged_reading_is_named(saved, tmp_path):
    import shutil

    copy = shutil.copytree(saved[1], tmp_path / "copy")
    facts = json.loads((copy / "training.json").read_text())
    (copy / "training.json").write_text(json.dumps({**facts, "reading": {"votes": 3, "beams": 2}}))
    with pytest.raises(StudentError, match="which this version can't read"):
        load_student(copy)
