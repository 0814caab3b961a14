import json

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


def test_a_rationale_of_its_own_is_asked_for_in_training_only(tiny_t5, tmp_path):
    rows = [{**row, "rationale": "turned"} for row in ROWS]
    task = make_task(rationale="turned")
    options = {"rationales": "task", "rationale_weight": 0.5}
    student = train_student(task, rows, base_model=tiny_t5, max_pairs=16, output_dir=tmp_path / "s", **options)
    assert (student.facts["rationales"], student.facts["rationale_weight"]) == ("task", 0.5)
    loaded = load_student(tmp_path / "s")
    assert loaded.rationales == "task" and loaded.predict(["ab"]) == student.predict(["ab"])
    # A weight of nothing is another student: the rationale's loss does count.
    other = train_student(task, rows, base_model=tiny_t5, max_pairs=16, **{**options, "rationale_weight": 0.0})
    alone = train_student(task, rows, base_model=tiny_t5, max_pairs=16, rationales="none")
    assert weights(other) != weights(student) and weights(alone) != weights(other)


def weights(student):
    return [float(parameter.sum()) for parameter in student.model.parameters()]


@pytest.mark.slow
def test_with_a_second_task_the_answer_alone_is_written(tiny_t5):
    task = make_task(rationale="turned")
    rows = [{**row, "rationale": "turned"} for row in ROWS]
    student = train_student(task, rows, base_model=tiny_t5, max_pairs=6000, rationales="task", learning_rate=1e-3)
    assert student.predict(["ab", "gh"]) == student.generate(["ab", "gh"]) == ["ba", "hg"]


def test_of_a_task_with_labels_one_of_them_is_written(tiny_t5):
    task = Task.load(
        {
            "name": "triage",
            "instruction": "Decide.",
            "labels": ["bill", "billing", "account"],
            "examples": [{"input": "the parcel is late", "output": "bill"}],
        }
    )
    student = train_student(task, [], kind="seq2seq", base_model=tiny_t5, max_pairs=8)
    assert set(student.predict(["hello", "my account", "x" * 40])) <= set(task.labels)


def test_settings_for_the_base_models_own_texts_are_forgotten(tiny_t5, tmp_path):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    base = AutoModelForSeq2SeqLM.from_pretrained(tiny_t5)
    base.generation_config.update(
        min_length=12, no_repeat_ngram_size=2, repetition_penalty=5.0, forced_bos_token_id=5, num_beams=4
    )
    base.save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(tiny_t5).save_pretrained(tmp_path / "base")
    task = {"name": "t", "instruction": "Say.", "labels": ["aaaa", "b"], "examples": [{"input": "x", "output": "b"}]}
    student = train_student(
        task, [], kind="seq2seq", base_model=str(tmp_path / "base"), max_pairs=2, output_dir=tmp_path / "s"
    )
    told = json.loads((tmp_path / "s" / "generation_config.json").read_text())
    assert {name for name in told if name != "transformers_version"} <= {
        *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "_from_model_config")
    }
    assert (told["eos_token_id"], told["pad_token_id"], told["decoder_start_token_id"]) == (1, 0, 0)
    assert set(student.predict(["hi there", "yo"])) <= {"aaaa", "b"}
    plain = train_student(task, [], kind="seq2seq", base_model=tiny_t5, max_pairs=2)
    assert student.generate(["hi there"]) == plain.generate(["hi there"])


def test_a_saved_student_that_is_forced_to_other_tokens_says_so(tiny_t5, tmp_path):
    task = {"name": "t", "instruction": "Say.", "labels": ["aaaa", "b"], "examples": [{"input": "x", "output": "b"}]}
    train_student(task, [], kind="seq2seq", base_model=tiny_t5, max_pairs=1, output_dir=tmp_path / "s")
    file = tmp_path / "s" / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"forced_bos_token_id": 9}))
    with pytest.raises(StudentError, match=r"wrote none of the labels aaaa, b: its generation_config\.json forces"):
        load_student(tmp_path / "s").predict(["hi"])
