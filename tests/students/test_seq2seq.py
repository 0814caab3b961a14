import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import load_student, train_student
from rebase_hf.task import Task

ROWS = [{"input": text, "output": text[::-1]} for text in ("ab", "cd", "ef", "gh")]


def make_task(**change):
    content = {
        "name": "reverse",
        "instruction": "Turn it round.",
        "examples": [{"input": "xy", "output": "yx", **change}],
    }
    return Task.load(content)


@pytest.fixture(scope="module")
def saved(tiny_t5, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seq2seq")
    return train_student(make_task(), ROWS, base_model=tiny_t5, output_dir=folder, max_pairs=16), folder


def test_loaded_student_writes_the_same(saved):
    student, folder = saved
    loaded = load_student(folder)
    assert loaded.kind == "seq2seq"
    assert loaded.generate(["ab", "zz"]) == student.generate(["ab", "zz"])


def test_it_trains_on_the_stated_number_of_rows(saved):
    student, _ = saved
    assert student.facts["max_pairs"] == 16
    assert student.facts["train_rows"] == 5


@pytest.mark.slow
def test_a_small_model_learns_the_rationale_and_answers_after_it(tiny_t5):
    task = make_task(rationale="turned")
    rows = [{**row, "rationale": "turned"} for row in ROWS]
    student = train_student(task, rows, base_model=tiny_t5, max_pairs=8000)
    [text] = student.generate(["ab"])
    assert text.startswith("turned\nAnswer: ")
    assert student.predict(["ab"]) == [text.split("Answer: ")[1]]


def test_a_base_model_that_is_nowhere_is_named(tmp_path):
    with pytest.raises(StudentError, match="can't be loaded by AutoModelForSeq2SeqLM"):
        train_student(make_task(), ROWS, base_model=str(tmp_path))
