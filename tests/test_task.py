import json
import pickle
import subprocess
import sys
import time
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from rebase_hf.errors import TaskError
from rebase_hf.task import Task
from tests.doubles.hub_server import HubServer

ROOT = Path(__file__).parents[1]
TRIAGE: dict[str, Any] = {
    "name": "support-triage",
    "instruction": "Decide which team should handle a customer's message.",
    "inputs": ["message"],
    "output": "team",
    "labels": {"billing": "a payment or refund", "delivery": "a parcel"},
    "examples": [{"message": "I was charged twice in May.", "team": "billing"}],
}
QA: dict[str, Any] = {
    "name": "qa",
    "instruction": "Answer from the notice.",
    "inputs": ["notice", "question"],
    "output": "answer",
    "extractive": True,
    "examples": [{"notice": "The pool opens at nine.", "question": "When?", "answer": "at nine"}],
}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "eval.jsonl", [{"message": "Where is my parcel?", "team": "delivery"}])


def test_a_dict_gives_a_task_with_defaults():
    task = Task.load({"name": "echo", "instruction": "Repeat.", "examples": [{"input": "a b", "output": "a b"}]})
    assert (task.inputs, task.output, task.kind, task.metric) == (("input",), "output", "generation", "rouge_l")
    assert (task.language, task.license, task.reasons, task.evaluation_rows()) == ("en", None, False, [])
    assert Task.load(task) is task


@pytest.mark.parametrize(
    ("content", "kind", "metric"), [(TRIAGE, "classification", "accuracy"), (QA, "extractive", "squad_f1")]
)
def test_the_kind_follows_from_labels_and_extractive(content, kind, metric):
    task = Task.load(content)
    assert (task.kind, task.metric) == (kind, metric)


def test_several_inputs_make_one_text_of_a_line_each():
    assert Task.load(QA).input_text(QA["examples"][0]) == "The pool opens at nine.\nWhen?"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"lables": {}}, r"unknown key `lables`; did you mean `labels`\?"),
        ({"zzz": 1}, r"unknown key `zzz`; known keys are `name`, `instruction`, .*`license`"),
        ({"name": None}, r"`name` is missing; give it a text"),
        ({"name": 5}, r"`name` is 5; give it a text"),
        ({"name": "my task"}, r"`name` is `my task`; use letters, digits, .* as in `support-triage`"),
        ({"name": ".."}, r"`name` is `\.\.`; use letters"),
        ({"name": "../x"}, r"`name` is `\.\./x`; use letters"),
        ({"instruction": " "}, r"`instruction` is ' '; give it a text"),
        ({"inputs": []}, r"`inputs` is \[\]; expected a list of field names, as in \[question, context\]"),
        ({"inputs": [1]}, r"`inputs` is \[1\]; expected a list of field names"),
        ({"inputs": ["team"]}, r"field `team` is reserved or named twice; call it something else"),
        ({"inputs": ["provenance"]}, r"field `provenance` is reserved or named twice"),
        ({"output": "rationale"}, r"field `rationale` is reserved or named twice"),
        ({"output": ["team"]}, r"`output` is \['team'\]; give it a text"),
        ({"labels": ["billing"]}, r"`labels` has only `billing`; a classification needs at least two"),
        ({"labels": ["a", "b", "a"]}, r"label `a` stands in `labels` twice. Remove one"),
        ({"labels": [{"billing": "x"}]}, r"label \{'billing': 'x'\} has the phrase None; expected `label: a phrase"),
        ({"labels": {"billing": ["x"], "b": "y"}}, r"label 'billing' has the phrase \['x'\]; expected `label: a"),
        ({"labels": {"": "x", "b": "y"}}, r"label '' has the phrase 'x'; expected"),
        ({"labels": "billing"}, r"`labels` is 'billing'; expected `label: a phrase that describes a text with it`"),
        ({"extractive": "yes"}, r"`extractive` is `yes`; expected true or false"),
        ({"extractive": True}, r"either `labels` or `extractive: true`, not both. Remove one"),
        ({"metric": "rouge_l"}, r"metric `rouge_l` does not fit a classification task; use one of `accuracy`, "),
        ({"language": ["en"]}, r"`language` is \['en'\]; give it a text"),
        ({"attributes": ["tone"]}, r"`attributes` is \['tone'\]; expected `dimension: \[value, value\]`"),
        ({"attributes": {"tone": []}}, r"`attributes.tone` is \[\]; expected a list"),
        ({"evaluation": 3}, r"`evaluation` is 3; expected `path: FILE` or `dataset: HUB_ID`, with split if needed"),
        ({"evaluation": {"file": "x"}}, r"`evaluation` is \{'file': 'x'\}; expected `path: FILE` or `dataset"),
        ({"evaluation": {"path": "a.csv", "dataset": "a/b"}}, r"`evaluation` is .*; expected `path: FILE` or"),
        ({"evaluation": "gone.jsonl"}, r"`evaluation` names gone.jsonl, which does not exist. Correct the path"),
        ({"examples": None}, r"`examples` holds none; expected a list of 1 to 50"),
        ({"examples": TRIAGE["examples"] * 51}, r"`examples` holds 51; expected a list of 1 to 50"),
        ({"examples": ["x"]}, r"example 1 is 'x'; expected the fields `message`, `team`"),
        ({"examples": [{"message": "Hi"}]}, r"example 1 lacks `team`; it has `message`. Every row needs `message`, "),
        (
            {"examples": [{"message": ["Hi"], "team": "billing"}]},
            r"example 1 lacks `message`; `message` there is \['H",
        ),
        ({"examples": [{"message": " ", "team": "billing"}]}, r"example 1 has nothing in `message`; write what"),
        ({"examples": [{"mesage": "Hi", "team": "billing"}]}, r"example 1 has `mesage`, .*Did you mean `message`\?"),
        (
            {"examples": [{"message": "Hi", "team": "Billing"}]},
            r"label `Billing` in example 1 is not one of billing, d",
        ),
        (
            {"examples": [TRIAGE["examples"][0] | {"rationale": "money"}, TRIAGE["examples"][0]]},
            r"1 of 2 examples have a `rationale`; give all of them one, or none",
        ),
        ({"examples": [TRIAGE["examples"][0] | {"rationale": ["x"]}]}, r"`rationale` of example 1 is \['x'\]; give"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(change, match):
    with pytest.raises(TaskError, match=match) as caught:
        Task.load(TRIAGE | change)
    assert "\n" not in str(caught.value)


def test_an_extractive_answer_must_stand_in_an_input():
    wrong = QA | {"examples": [{"notice": "The pool opens at nine.", "question": "When?", "answer": "At nine"}]}
    with pytest.raises(TaskError, match=r"`answer` of example 1 stands in none .*`At nine`. Copy it word for word"):
        Task.load(wrong)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("gone.yaml", r"Task file gone.yaml does not exist. Give the path of a task.yaml, or a Hub dataset's id"),
        ("a/b/c", r"Task file a/b/c does not exist"),
        ("./gone", r"Task file ./gone does not exist"),
        ("tasks/gone.yml", r"Task file tasks/gone.yml does not exist"),
        (Path("org/x"), r"Task file org/x does not exist"),
        ("name: x\ninstruction: y/z", r"Task file name: x"),
        ("x" * 5000, r"Task `x{80}` can't be looked up: .*File name too long"),
        (7, r"Task is 7; expected a Task, a dict, the path of a task file or a Hub dataset's id"),
    ],
)
def test_what_is_no_task_file_is_said_at_once(source, match):
    with pytest.raises(TaskError, match=match):
        Task.load(source)


def test_a_folder_without_a_task_file_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "org" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError, match=r"Folder org/x holds no task.yaml. Add one"):
        Task.load("org/x")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("- a\n- b", r"task.yaml holds list, expected keys such as `name`"),
        ("name: [", r"task.yaml is not YAML: .*line 1.*Mend it there"),
        ("labels:\n  a: x\n  a: y\n", r"task.yaml is not YAML: a key stands here twice.*line 2"),
        ("name: null\n", r"task.yaml: `name` is missing"),
    ],
)
def test_a_broken_task_file_is_named(tmp_path, text, match):
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(TaskError, match=match):
        Task.load(tmp_path)


def test_scalars_of_a_task_file_stay_text(tmp_path):
    (tmp_path / "task.yaml").write_text(
        "name: truth\ninstruction: Judge.\nlicense: null\nevaluation: ~\n"
        "labels:\n  yes: it is so\n  no:\n  on: null\n  1: 010\n  1.50: x\n"
        "examples:\n  - {input: 2024-05-01, output: yes}\n  - {input: NA, output: 1.50}\n"
    )
    task = Task.load(tmp_path / "task.yaml")
    assert dict(task.labels) == {"yes": "it is so", "no": "no", "on": "null", "1": "010", "1.50": "x"}
    assert task.examples[0] == {"input": "2024-05-01", "output": "yes"}
    assert (task.license, task.evaluation) == (None, None)


@pytest.mark.parametrize("content", [TRIAGE, QA, TRIAGE | {"labels": ["billing", "yes", "null", "1"]}])
def test_a_task_survives_yaml_and_a_pickle(content, tmp_path, held_out):
    task = Task.load(content | {"license": "mit", "attributes": {"tone": ["calm", "ärger 😀"]}})
    if content is TRIAGE:
        task = Task.load(TRIAGE | {"evaluation": str(held_out)})
    (tmp_path / "again.yaml").write_text(task.to_yaml(), encoding="utf-8")
    again = Task.load(tmp_path / "again.yaml")
    assert again == task
    assert again.fingerprint == task.fingerprint
    copy = pickle.loads(pickle.dumps(task))  # noqa: S301
    assert copy == task
    assert copy.fingerprint == task.fingerprint


def test_the_fingerprint_follows_what_the_task_says(tmp_path, held_out):
    task = Task.load(TRIAGE)
    assert Task.load(json.loads(json.dumps(TRIAGE))).fingerprint == task.fingerprint
    others = [
        TRIAGE | {"instruction": "Decide."},
        TRIAGE | {"labels": dict(reversed(TRIAGE["labels"].items()))},
        TRIAGE | {"labels": TRIAGE["labels"] | {"billing": "money"}},
        TRIAGE | {"language": "de"},
        TRIAGE | {"evaluation": str(held_out)},
        TRIAGE | {"train": str(held_out)},
        TRIAGE | {"evaluation": {"dataset": "org/x"}},
        TRIAGE | {"evaluation": {"dataset": "org/x", "revision": "abc"}},
    ]
    prints = [task.fingerprint, *(Task.load(other).fingerprint for other in others)]
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_follows_the_evaluation_rows_not_their_path(tmp_path, held_out):
    first = Task.load(TRIAGE | {"evaluation": str(held_out)}).fingerprint
    moved = tmp_path / "elsewhere" / "other.jsonl"
    moved.parent.mkdir()
    moved.write_bytes(held_out.read_bytes())
    assert Task.load(TRIAGE | {"evaluation": str(moved)}).fingerprint == first
    write_rows(moved, [{"message": "Where is it?", "team": "delivery"}])
    assert Task.load(TRIAGE | {"evaluation": str(moved)}).fingerprint != first


def test_a_folders_fingerprint_tells_its_files_apart(tmp_path, held_out):
    prints = set()
    for name, other in (("test.jsonl", "a.txt"), ("train.jsonl", "a.txt"), ("test.jsonl", "b.txt")):
        folder = tmp_path / f"{name}-{other}"
        folder.mkdir()
        (folder / name).write_bytes(held_out.read_bytes())
        (folder / other).write_text("x")
        prints.add(Task.load(TRIAGE | {"evaluation": str(folder)}).fingerprint)
    assert len(prints) == 3


def test_paths_are_relative_to_the_task_file_or_to_the_working_directory(tmp_path, held_out, monkeypatch):
    (tmp_path / "task.yaml").write_text(json.dumps(TRIAGE | {"evaluation": {"path": "eval.jsonl"}}))
    assert Task.load(str(tmp_path)).evaluation.path == str(held_out)
    (tmp_path / "task.yaml").write_text(json.dumps(TRIAGE | {"evaluation": "eval.jsonl"}))
    assert Task.load(tmp_path / "task.yaml").evaluation.path == str(held_out)
    monkeypatch.chdir(tmp_path)
    assert Task.load(TRIAGE | {"evaluation": {"path": "eval.jsonl", "split": None}}).evaluation.path == str(held_out)
    (tmp_path / "rows").mkdir()
    assert Task.load(TRIAGE | {"evaluation": "rows"}).evaluation.path == str(tmp_path / "rows")


@pytest.mark.parametrize("name", ["SetFit/sst2", "org/data_v1.5"])
def test_a_name_that_leads_to_no_file_is_a_hub_dataset(name):
    reference = Task.load(TRIAGE | {"evaluation": name}).evaluation
    assert (reference.dataset, reference.path) == (name, None)


@pytest.mark.parametrize(
    ("name", "extra", "match"),
    [
        ("eval.txt", {}, r"ends in `.txt`; give .jsonl, .json, .csv, .parquet"),
        ("eval.jsonl", {"split": "test"}, r"names a single file, which has no `split`. Remove that"),
    ],
)
def test_a_file_that_can_not_hold_rows_is_refused(tmp_path, name, extra, match):
    (tmp_path / name).write_text("{}")
    with pytest.raises(TaskError, match=match):
        Task.load(TRIAGE | {"evaluation": {"path": str(tmp_path / name)} | extra})


ROWS = [{"input": "2024-05-01", "output": "true"}, {"input": "NA", "output": "01"}, {"input": "1e3", "output": "null"}]
COPY = {"name": "copy", "instruction": "Copy.", "examples": [{"input": "a", "output": "a"}]}


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_rows_are_read_as_they_are_written(tmp_path, kind):
    path = tmp_path / f"eval.{kind}"
    if kind == "jsonl":
        path.write_text("\ufeff" + "\n\n".join(map(json.dumps, ROWS)) + "\r\n")
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    elif kind == "csv":
        path.write_text("input,output\n" + "".join(f'"{row["input"]}",{row["output"]}\n' for row in ROWS))
    else:
        Dataset.from_list(ROWS).to_parquet(str(path))
    assert Task.load(COPY | {"evaluation": str(path)}).evaluation_rows() == ROWS


def test_numbers_and_booleans_of_json_are_read_as_they_are_written(tmp_path):
    path = tmp_path / "eval.jsonl"
    path.write_text('{"input": 1.50, "output": true}\n{"input": 12345678901234567890, "output": "\\ud83d!"}\n')
    assert Task.load(COPY | {"evaluation": str(path)}).evaluation_rows() == [
        {"input": "1.50", "output": "true"},
        {"input": "12345678901234567890", "output": "\ufffd!"},
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (np.int64(7), "7"),
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "true"),
        (np.str_("a"), "a"),
        (datetime(2024, 5, 1), "2024-05-01"),
        (datetime(2024, 5, 1, 10, 30), "2024-05-01T10:30:00"),
        (date(2024, 5, 1), "2024-05-01"),
        (float("nan"), None),
        (None, None),
        ({"a": 1}, None),
        (["a"], None),
        (b"a", None),
    ],
)
def test_a_single_value_is_a_text_and_nothing_else_is(value, text):
    row = {"message": value, "team": "billing"}
    if text is None:
        with pytest.raises(TaskError, match="row 3 lacks `message`"):
            Task.load(TRIAGE).check_row(row, "row 3")
    else:
        assert Task.load(TRIAGE).check_row(row, "row 3")["message"] == text


LABELLED = Features({"message": Value("string"), "team": ClassLabel(names=["delivery", "billing"])})


def test_true_class_labels_are_decoded_and_plain_numbers_are_not(tmp_path):
    rows = [{"message": "Where is it?", "team": 0}, {"message": "I paid.", "team": 1}]
    Dataset.from_list(rows, features=LABELLED).to_parquet(str(tmp_path / "eval.parquet"))
    task = Task.load(TRIAGE | {"evaluation": str(tmp_path / "eval.parquet")})
    assert [row["team"] for row in task.evaluation_rows()] == ["delivery", "billing"]
    Dataset.from_list(rows).to_parquet(str(tmp_path / "eval.parquet"))
    with pytest.raises(TaskError, match="label `0` in evaluation row 0 is not one of billing, delivery. Add it to"):
        task.evaluation_rows()


def test_a_folder_is_read_by_split_and_its_labels_decoded(tmp_path):
    folder = tmp_path / "rows"
    for split, team in (("train", 1), ("test", 0)):
        rows = [{"message": f"A row of {split}", "team": team}]
        Dataset.from_list(rows, features=LABELLED).to_parquet(str(folder / f"{split}.parquet"))
    task = Task.load(TRIAGE | {"evaluation": {"path": str(folder)}, "train": {"path": str(folder)}})
    assert task.evaluation_rows() == [{"message": "A row of test", "team": "delivery"}]
    assert task.train_rows() == [{"message": "A row of train", "team": "billing"}]
    wrong = Task.load(TRIAGE | {"evaluation": {"path": str(folder), "split": "dev"}})
    with pytest.raises(TaskError, match=r"has no split `dev`; it has .*train.*Name one"):
        wrong.evaluation_rows()


def test_a_secret_label_is_no_label(tmp_path):
    Dataset.from_list([{"message": "x", "team": -1}], features=LABELLED).to_parquet(str(tmp_path / "eval.parquet"))
    with pytest.raises(TaskError, match="evaluation row 0 lacks `team`"):
        Task.load(TRIAGE | {"evaluation": str(tmp_path / "eval.parquet")}).evaluation_rows()


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        (
            "e.jsonl",
            '{"message": "x"}\n',
            r"evaluation row 0 lacks `team`; it has `message`. Every row needs `message`",
        ),
        ("e.jsonl", '{"message": {"a": 1}, "team": "billing"}', r"lacks `message`; `message` there is None"),
        ("e.jsonl", '\n{"message": }\n', r"e.jsonl: line 2 is not JSON .*Mend it there"),
        ("e.jsonl", "[" * 100_000, r"e.jsonl: line 1 is not JSON"),
        ("e.jsonl", "[1]\n", r"e.jsonl: line 1 is \[.*expected an object of a row's fields"),
        ("e.json", '{"message": "x"}', r"e.json holds dict, expected a list of objects"),
        ("e.csv", "message,team\na, b,billing\n", r"row 0 has more cells than the header has names"),
        ("e.csv", 'message,team\n"a,billing\n', r"e.csv, line 2: unexpected end of data. Mend it there"),
        ("e.parquet", "no parquet", r"e.parquet is not Parquet: .*Write it again"),
        ("e.jsonl", "", r"`evaluation` names .*e.jsonl, which holds no rows. Add rows with `message`, `team`"),
        ("e.jsonl", b"\xff\xfe", r"e.jsonl can't be read: .*Give a file in UTF-8"),
    ],
)
def test_wrong_evaluation_rows_are_named(tmp_path, name, text, match):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TaskError, match=match):
        Task.load(TRIAGE | {"evaluation": str(tmp_path / name)}).evaluation_rows()


def run(hub_env: dict[str, str], code: str) -> str:
    head = (
        f"import json\nfrom rebase_hf.errors import TaskError\nfrom rebase_hf.task import Task\nTRIAGE = {TRIAGE!r}\n"
    )
    env = hub_env | {"PYTHONPATH": ":".join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", head + code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LOAD = """
task = Task.load("org/task")
print(json.dumps([task.name, task.evaluation_rows()]))
"""
REFUSED = """
try:
    Task.load("org/task")
except TaskError as error:
    print(error)
"""


def test_a_task_on_the_hub_brings_its_evaluation_rows_and_is_cached(tmp_path):
    with HubServer() as hub:
        content = TRIAGE | {"evaluation": {"path": "data/eval.jsonl"}}
        rows = b'{"message": "Where is it?", "team": "delivery"}\n'
        hub.add_repo("org/task", files={"task.yaml": json.dumps(content).encode(), "data/eval.jsonl": rows})
        expected = ["support-triage", [json.loads(rows)]]
        env = hub.env(tmp_path)
        assert json.loads(run(env, LOAD)) == expected
    began = time.monotonic()
    assert json.loads(run(env, LOAD)) == expected
    assert time.monotonic() - began < 15  # a download's own retries take 23 s


def test_a_task_on_the_hub_can_not_name_files_of_this_machine(tmp_path):
    with HubServer() as hub:
        content = TRIAGE | {"evaluation": {"path": "../../secret.jsonl"}}
        hub.add_repo("org/task", files={"task.yaml": json.dumps(content).encode()})
        assert "names the file ../../secret.jsonl, which is not in its dataset" in run(hub.env(tmp_path), REFUSED)


def test_an_id_that_the_hub_does_not_know_is_one_error(tmp_path):
    with HubServer() as hub:
        said = run(hub.env(tmp_path), REFUSED)
    assert said.startswith("Task `org/task` is not a file here; looked for it as a Hub dataset with a `task.yaml`: ")
    assert said.endswith("Correct the path or the id.\n")
    assert said.count("\n") == 1


def test_without_the_hub_an_id_is_one_error_and_fast(tmp_path):
    with HubServer() as hub:
        env = hub.env(tmp_path)
    began = time.monotonic()
    said = run(env, REFUSED)
    assert "the Hub does not answer, and there is no copy in the cache. Correct the path or the id." in said
    assert time.monotonic() - began < 15


def test_hub_evaluation_rows_that_can_not_be_read_are_one_error(tmp_path):
    code = """
try:
    Task.load(TRIAGE | {"evaluation": {"dataset": "org/none"}}).evaluation_rows()
except TaskError as error:
    print(error)
"""
    with HubServer() as hub:
        said = run(hub.env(tmp_path), code)
    assert said.startswith("Rows in Hub dataset `org/none` can't be read: ")
    assert said.count("\n") == 1
