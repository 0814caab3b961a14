import numpy as np
import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import compare, load_student, train_student
from rebase_hf.students.answer_windows import context_field, row_windows, shown_windows, split_inputs
from rebase_hf.students.student import training_rows
from rebase_hf.task import Task

FILLER = "the package came broken and wet . " * 40
AMOUNTS = ["12", "250", "7", "49", "1000", "63", "88", "5"]
ROWS = [{"question": "how much was billed ?", "text": f"my card was billed {a} euro .", "amount": a} for a in AMOUNTS]


@pytest.fixture(scope="module")
def task():
    return Task.load(
        {
            "name": "amounts",
            "instruction": "Copy the amount.",
            "inputs": ["question", "text"],
            "output": "amount",
            "extractive": True,
            "examples": [{"question": "how much ?", "text": "the refund is 30 euro .", "amount": "30"}],
        }
    )


@pytest.fixture(scope="module")
def saved(task, tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extractive")
    return train_student(task, ROWS, base_model=tiny_bert, output_dir=folder, max_pairs=64), folder


def test_the_context_is_the_input_that_answers_stand_in(task):
    assert context_field(task) == "text"
    assert split_inputs(task, ROWS[0]) == ("how much was billed ?", "my card was billed 12 euro .")


def test_the_instruction_is_the_question_of_a_task_with_one_input():
    task = Task.load(
        {
            "name": "amounts",
            "instruction": "Copy the amount.",
            "extractive": True,
            "examples": [{"input": "it was 30 euro", "output": "30"}],
        }
    )
    assert split_inputs(task, {"input": "it was 5 euro"}) == ("Copy the amount.", "it was 5 euro")


def test_answers_are_spans_of_the_text_also_of_a_long_one(saved):
    student, _ = saved
    row = {**ROWS[1], "text": f"{FILLER}{ROWS[1]['text']} {FILLER}"}
    predictions = student.predict([*ROWS, row])
    assert len(predictions) == len(ROWS) + 1
    assert all(p and p in asked["text"] for p, asked in zip(predictions, [*ROWS, row], strict=True))


def test_the_answer_is_marked_in_the_window_that_holds_it_and_nowhere_else(task, tiny_bert):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    features = row_windows(task, tokenizer, {**ROWS[1], "text": f"{FILLER}{ROWS[1]['text']} {FILLER}"}, 96)
    marked = [f for f in features if (f["start_positions"], f["end_positions"]) != (0, 0)]
    assert 1 <= len(marked) < len(features)
    for feature in marked:
        span = feature["input_ids"][feature["start_positions"] : feature["end_positions"] + 1]
        assert tokenizer.decode(span).replace(" ", "") == "250"


def test_a_long_question_leaves_room_for_the_text(saved):
    student, _ = saved
    [answer] = student.predict([{"question": FILLER, "text": "it was 5 euro"}])
    assert answer in "it was 5 euro"


@pytest.mark.slow
def test_a_small_encoder_learns_to_find_the_amount(task, tiny_bert):
    student = train_student(task, ROWS, base_model=tiny_bert, max_pairs=6000)
    assert student.evaluate(ROWS)["exact_match"] >= 0.75


def test_loaded_student_predicts_the_same(saved):
    student, folder = saved
    loaded = load_student(folder)
    assert loaded.kind == "extractive"
    assert loaded.predict(ROWS) == student.predict(ROWS)
    assert all(
        np.array_equal(a.detach().numpy(), b.detach().numpy())
        for a, b in zip(loaded.model.parameters(), student.model.parameters(), strict=True)
    )


def test_rows_whose_answer_is_nowhere_are_no_help(task, tiny_bert):
    rows = [{**row, "amount": "nothing of the kind"} for row in ROWS]
    with pytest.raises(StudentError, match="in none of 8 rows does `amount` stand in `text`"):
        train_student(task, rows, base_model=tiny_bert, include_examples=False)


def test_compare_scores_spans(task, tiny_bert):
    report = compare(task, ROWS, seeds=(0,), max_pairs=16, base_model=tiny_bert, evaluation=ROWS[:3]).to_report()
    assert list(report["student"]) == ["squad_f1", "exact_match"]
    assert report["baselines"]["majority"]["exact_match"] == 0  # "30", the example's, is first of equals


NOTHING = [{"question": "how much was billed ?", "text": f"the box {n} is wet .", "amount": ""} for n in "abcdefgh"]


def test_rows_without_an_answer_teach_to_give_none(task, tiny_bert, tmp_path):
    student = train_student(task, [*ROWS, *NOTHING], base_model=tiny_bert, max_pairs=32, output_dir=tmp_path / "s")
    assert (student.facts["rows_without_answer"], student.facts["no_answer_threshold"]) == (8, 0.0)
    loaded = load_student(tmp_path / "s")
    assert loaded.predict([*ROWS, *NOTHING]) == student.predict([*ROWS, *NOTHING])


def test_the_answer_is_nothing_in_every_window_of_a_row_without_one(task, tiny_bert):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    features = row_windows(task, tokenizer, {**NOTHING[0], "text": FILLER}, 96)
    assert len(features) > 1
    assert {(f["start_positions"], f["end_positions"]) for f in features} == {(0, 0)}


def test_above_the_threshold_it_answers_and_below_it_says_nothing(saved, task):
    student, _ = saved
    for threshold, said in ((-1e9, True), (1e9, False)):
        strict = type(student)(
            task, student.model, student.tokenizer, {**student.facts, "no_answer_threshold": threshold}
        )
        assert [bool(answer) for answer in strict.predict(ROWS)] == [said] * len(ROWS)


@pytest.mark.slow
def test_a_small_encoder_learns_where_there_is_nothing(task, tiny_bert):
    student = train_student(task, [*ROWS, *NOTHING], base_model=tiny_bert, max_pairs=8000, learning_rate=1e-3)
    assert student.predict(NOTHING) == [""] * len(NOTHING)
    assert student.evaluate(ROWS)["exact_match"] >= 0.75


def test_plain_transformers_finds_the_same_span(saved):
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    student, folder = saved
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    row = ROWS[1]
    given = tokenizer(row["question"], row["text"], return_tensors="pt", return_offsets_mapping=True)
    offsets = given.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        found = model(**given)
    text = [place for place, part in enumerate(given.sequence_ids(0)) if part == 1]
    scores = {(a, b): float(found.start_logits[0, a] + found.end_logits[0, b]) for a in text for b in text if a <= b}
    first, last = max(scores, key=scores.get)
    assert student.predict([row]) == [row["text"][offsets[first][0] : offsets[last][1]]]


def test_rows_are_drawn_before_they_are_prepared(task, tiny_bert):
    from transformers import AutoTokenizer

    class Counting:
        def __init__(self):
            self.tokenizer, self.read = AutoTokenizer.from_pretrained(tiny_bert), []

        def __call__(self, *texts, **how):
            self.read += texts[1:]
            return self.tokenizer(*texts, **how)

    astray = {"question": "how much ?", "text": "nothing of it is here", "amount": "99"}
    rows = training_rows(task, [*ROWS, astray], include_examples=False)
    drawn = {}
    for count in (3, 8, 20):
        tokenizer = Counting()
        shown = shown_windows(task, tokenizer, rows, max_length=96, count=count, seed=1)
        assert len(shown) == count and all(window["end_positions"] for window in shown)
        assert len(tokenizer.read) == len(set(tokenizer.read)) == min(count, len(ROWS))
        assert astray["text"] not in tokenizer.read
        drawn[count] = [tuple(window["input_ids"]) for window in shown]
    assert len(set(drawn[8])) == 8 and set(drawn[20]) == set(drawn[8])  # every row before any comes again
    other = shown_windows(task, Counting(), rows, max_length=96, count=8, seed=2)
    assert [tuple(window["input_ids"]) for window in other] != drawn[8]


def test_windows_of_a_long_text_are_shown_too(task, tiny_bert):
    from transformers import AutoTokenizer

    rows = training_rows(task, [{**ROWS[0], "text": f"{FILLER}{ROWS[0]['text']}"}], include_examples=False)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    every = row_windows(task, tokenizer, rows[0].fields, 96)
    having = [tuple(window["input_ids"]) for window in every if window["end_positions"]]
    shown = shown_windows(task, tokenizer, rows, max_length=96, count=60, seed=0)
    held = [window for window in shown if window["end_positions"]]
    # One of the others goes with those that hold the answer, so that a long text is no flood of windows without it.
    assert having and len(shown) == 60 and len(held) == 60 * len(having) / (len(having) + 1)
    assert {tuple(window["input_ids"]) for window in shown} == {tuple(window["input_ids"]) for window in every}
