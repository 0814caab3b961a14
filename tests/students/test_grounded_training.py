"""What a grounded student learns from, and beside what it is compared."""

import logging

import pytest

from rebase_hf.errors import StudentError
from rebase_hf.methods.grounded_text import grounded_input, grounded_target
from rebase_hf.rows import Example
from rebase_hf.students import compare, load_student, train_student
from rebase_hf.students.grounded_training import training_texts
from rebase_hf.students.reading import Reading
from rebase_hf.students.reranker_training import RerankerOptions
from rebase_hf.students.student import TrainingRow, training_rows
from rebase_hf.students.training_passages import Apart, completed_rows
from tests.students.grounded_data import Recording, make_index, make_rows, make_task

QUESTIONS = ["can pearl float", "can ruby float", "can garnet float"]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("stones") / "stones-index")


@pytest.fixture(scope="module")
def options(tiny_bert):
    return {"reranker_model": tiny_bert, "reading": Reading(votes=3, max_tokens=16)}


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
