import json
import statistics

import pytest

from rebase_hf.cli.training import show_student
from rebase_hf.errors import StudentError
from rebase_hf.students import compare
from rebase_hf.students.contenders import drawn_gold
from rebase_hf.students.student import training_rows
from rebase_hf.task import Task
from tests.doubles.tiny_models import ROWS


@pytest.fixture(scope="module")
def held_out():
    return [{"message": "my card was charged", "team": "billing"}, {"message": "where is the box", "team": "shipping"}]


@pytest.fixture(scope="module")
def task():
    return Task.load(
        {
            "name": "triage",
            "instruction": "Decide.",
            "inputs": ["message"],
            "output": "team",
            "labels": ["billing", "shipping", "account"],
            "examples": [{"message": "the parcel is late", "team": "shipping"}],
        }
    )


@pytest.fixture(scope="module")
def comparison(task, held_out, tiny_encoder):
    rows = [*ROWS, {"message": "one more about a payment", "team": "billing"}]
    return compare(task, rows, seeds=(4, 5), max_pairs=48, base_model=tiny_encoder, evaluation=held_out)


def test_report_has_mean_and_sample_deviation_over_seeds(comparison):
    report = comparison.to_report()
    values = report["comparison"]["per_seed"]["student"]
    assert len(values) == 2
    assert report["student"]["accuracy"] == statistics.mean(values)
    assert report["student"]["accuracy_std"] == statistics.stdev(values)
    assert set(report["baselines"]) == {"majority", "few_examples"}
    assert set(report["baselines"]["few_examples"]) == set(report["student"])


def test_report_states_the_terms(comparison, tiny_encoder):
    assert comparison.to_report()["comparison"] == {
        "metric": "accuracy",
        "seeds": [4, 5],
        "kind": "setfit",
        "max_pairs": 48,
        "per_seed": {
            "student": [run["accuracy"] for run in comparison.scores["student"]],
            "few_examples": [run["accuracy"] for run in comparison.scores["few_examples"]],
        },
        "train_rows": 14,
        "few_examples": 1,
        "gold_rows": None,
        "evaluation_rows": 2,
        "leaks": {},
        "base_model": "tiny-encoder",
    }


def test_both_students_are_trained_on_equally_many_pairs_but_their_own_rows(comparison):
    assert comparison.student.facts["max_pairs"] == 48
    assert comparison.student.facts["train_rows"] == 14


def test_the_student_kept_is_that_of_the_first_seed(comparison):
    assert comparison.student.facts["seed"] == 4


def test_majority_is_that_of_the_training_data_not_of_the_held_out_rows(task, tiny_encoder):
    held_out = [{"message": "the parcel", "team": "shipping"}] * 3 + [{"message": "my card", "team": "billing"}]
    rows = [{"message": f"payment {n}", "team": "billing"} for n in range(5)]
    compared = compare(task, rows, seeds=(0,), max_pairs=16, base_model=tiny_encoder, evaluation=held_out)
    report = compared.to_report()
    assert report["baselines"]["majority"]["accuracy"] == 0.25
    assert "accuracy_std" not in report["student"]


def test_a_task_without_held_out_rows_is_refused_before_training(task):
    with pytest.raises(StudentError, match="has no evaluation rows to score students by"):
        compare(task, ROWS)


@pytest.fixture
def gold_task(task, tmp_path):
    rows = [{"message": f"{row['message']} {n}", "team": row["team"]} for n in range(3) for row in ROWS]
    (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return Task.load({**task.to_dict(), "train": {"path": str(tmp_path / "gold.jsonl")}})


def test_a_student_of_as_many_gold_rows_stands_beside(gold_task, held_out, tiny_encoder):
    rows = ROWS[:5]
    compared = compare(gold_task, rows, seeds=(0, 1), kind="linear", base_model=tiny_encoder, evaluation=held_out)
    assert compared.gold_rows == compared.train_rows == 6
    report = compared.to_report()
    assert len(report["comparison"]["per_seed"]["gold_rows"]) == 2
    assert report["comparison"]["max_pairs"] is None and report["comparison"]["kind"] == "linear"
    assert set(report["baselines"]["gold_rows"]) == set(report["student"])


def test_gold_rows_are_drawn_anew_for_each_seed_and_alike_for_the_same(gold_task):
    gold, student = training_rows(gold_task, gold_task.train_rows()), training_rows(gold_task, ROWS[:5])
    first, again, other = (drawn_gold(gold, student, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert [row.is_example for row in first] == [True] + [False] * 5


def test_rows_that_give_away_held_out_rows_are_left_out_and_counted(gold_task, tiny_encoder, caplog):
    held_out = [{"message": ROWS[0]["message"].upper() + "!", "team": "billing"}, {"message": "hm", "team": "account"}]
    compared = compare(gold_task, ROWS, seeds=(0,), kind="linear", base_model=tiny_encoder, evaluation=held_out)
    assert compared.leaks == {"student": 1, "gold_rows": 3}
    assert compared.train_rows == len(ROWS)  # one less, and the example
    assert "1 of 13 rows of `student` overlap the evaluation set" in caplog.text
    assert compared.to_report()["comparison"]["leaks"] == {"student": 1, "gold_rows": 3}


def test_rationales_of_the_dataset_are_learnt_and_others_need_none(tiny_t5):
    task = Task.load({"name": "reverse", "instruction": "Turn.", "examples": [{"input": "xy", "output": "yx"}]})
    rows = [{"input": text, "output": text[::-1], "rationale": "turned"} for text in ("ab", "cd")]
    compared = compare(
        task,
        rows,
        seeds=(0,),
        max_pairs=8,
        base_model=tiny_t5,
        evaluation=[{"input": "zz", "output": "zz"}],
        rationales="task",
    )
    assert compared.student.facts["rationales"] == "task"
    assert set(compared.scores) == {"student", "few_examples", "majority"}


def test_rationales_that_the_dataset_has_not_are_no_silent_wish(tiny_t5):
    task = Task.load({"name": "reverse", "instruction": "Turn.", "examples": [{"input": "xy", "output": "yx"}]})
    rows, held_out = [{"input": "ab", "output": "ba"}], [{"input": "zz", "output": "zz"}]
    with pytest.raises(StudentError, match="not one of the 2 rows of task `reverse` has a rationale"):
        compare(task, rows, seeds=(0,), base_model=tiny_t5, evaluation=held_out, rationales="task")


@pytest.mark.parametrize(("gold", "told"), [(3, True), (9, False), (None, False)])
def test_it_is_said_where_there_were_fewer_gold_rows(comparison, capsys, tmp_path, gold, told):
    report = comparison.to_report() | {"evaluation": {"rows": 2}}
    report["comparison"] |= {"gold_rows": gold, "train_rows": 9}
    show_student(tmp_path, report)
    assert ("(`gold_rows` are 3, all that there are; the student had 9 rows)" in capsys.readouterr().out) == told


def test_a_task_may_be_a_file_and_seeds_are_a_list(task, tmp_path):
    (tmp_path / "task.yaml").write_text(task.to_yaml())
    with pytest.raises(StudentError, match="has no evaluation rows"):
        compare(str(tmp_path / "task.yaml"), ROWS)
    for seeds, message in ((3, "`seeds` is 3; give a list"), ((), "`seeds` is"), ([-1], "`seeds` is -1; expected a")):
        with pytest.raises(StudentError, match=message):
            compare(task, ROWS, seeds=seeds)
