import json
import os
import shutil
import subprocess
import sys

import pytest
from datasets import Dataset

from rebase_hf.errors import RowIndexError, StudentError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.grounded_text import passage_text
from rebase_hf.students import load_student, train_student
from rebase_hf.students.knowledge_store import build_knowledge_store
from rebase_hf.students.reading import Reading
from rebase_hf.students.reranker_training import RerankerOptions
from rebase_hf.students.student import training_rows
from rebase_hf.students.training_passages import Apart, completed_rows
from tests.conftest import EXAMPLES, ROOT
from tests.doubles.hub_server import HubServer
from tests.index.hashing_encoder import HashingEncoder
from tests.students.grounded_data import make_rows, make_task

QUESTIONS = ["can jade float", "can amber float"]


def rows_with_provenance():
    told = {"dataset": "org/stones", "split": "train", "row": 3, "license": "cc-by-4.0", "teacher": "some-model"}
    rows = [{**row, "provenance": told} for row in make_rows()]
    for row in rows:
        del row["passages"]
    rows[2]["provenance"] = {**told, "row": 17, "license": "mit"}
    return rows


@pytest.fixture(scope="module")
def options(tiny_bert):
    return {
        "reranker_model": tiny_bert,
        "reranker": RerankerOptions(most_shown=4),
        "reading": Reading(votes=2, max_tokens=12),
    }


@pytest.fixture(scope="module")
def saved(options, tiny_t5, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "student"
    rows = rows_with_provenance()
    store = build_knowledge_store(folder, rows, encoder=HashingEncoder())
    student = train_student(
        make_task(),
        rows,
        kind="grounded",
        index=store,
        **options,
        base_model=tiny_t5,
        max_pairs=8,
        output_dir=folder,
    )
    return student, folder


def test_every_text_is_stored_once_with_the_provenance_of_its_first_row(saved):
    store = saved[0].index
    rows = store.rows(range(len(store)))
    texts = [row.cells["text"] for row in rows]
    assert len(texts) == len(set(texts)) == 9 + 2, "one of each stone, and `it is light` and `it is heavy` once each"
    assert rows[0].cells == {
        "text": "so amber is light",
        "provenance.dataset": "org/stones",
        "provenance.split": "train",
        "provenance.row": "3",
        "provenance.license": "cc-by-4.0",
        "provenance.teacher": "some-model",
    }
    assert rows[2].cells["provenance.row"] == "17"
    assert {source.license for source in store.sources} == {"cc-by-4.0, mit"}


def test_a_student_does_not_read_the_provenance(saved):
    store = saved[0].index
    assert passage_text(store.rows([0])[0]) == "so amber is light"


def test_the_folder_stands_alone_wherever_it_is_moved(saved, tmp_path):
    student, folder = saved
    assert not (folder / "local.json").exists()
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    loaded = load_student(moved)
    assert loaded.index.path == (moved / "knowledge").resolve()
    assert loaded.predict_with_evidence(QUESTIONS) == student.predict_with_evidence(QUESTIONS)
    assert all(found.passages for found in loaded.predict_with_evidence(QUESTIONS))
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert not any(str(folder.parent).encode() in file.read_bytes() for file in files)
    assert not any(file.suffix in (".pkl", ".pickle", ".pt") for file in files)


def test_saved_elsewhere_the_store_goes_along(saved, tmp_path):
    copy = saved[0].save(tmp_path / "copy")
    assert RowIndex.open(copy / "knowledge").fingerprint == saved[0].index.fingerprint
    assert load_student(copy).index.path == (copy / "knowledge").resolve()


def test_saved_over_itself_it_stays_what_it_is(saved, tmp_path):
    moved = shutil.copytree(saved[1], tmp_path / "elsewhere")
    loaded = load_student(moved)
    loaded.save(moved)
    assert load_student(moved).predict_with_evidence(QUESTIONS) == saved[0].predict_with_evidence(QUESTIONS)


def test_a_store_that_was_changed_is_not_read(saved, tmp_path):
    copy = shutil.copytree(saved[1], tmp_path / "copy")
    build_knowledge_store(copy, ["another text"], license="mit", encoder=HashingEncoder())
    with pytest.raises(StudentError, match=r"`knowledge` \(11 rows.*another index by now"):
        load_student(copy)


def test_no_question_is_given_its_own_rationales_in_training(saved):
    task, store = make_task(), saved[0].index
    rows = training_rows(task, rows_with_provenance(), include_examples=False, rationales=True)
    completed = completed_rows(task, rows, store, Reading(passages=3), Apart(task, rows))
    assert len(completed) == saved[0].facts["train_rows"] == 18, "every rationale is learnt"
    for row in completed:
        assert row.passages
        assert row.rationale not in row.passages
        assert {other.rationale for other in rows if other.fields == row.fields}.isdisjoint(row.passages)
    assert "so diamond is light" in completed[0].passages


@pytest.mark.slow
def test_a_student_with_a_store_is_loaded_from_the_hub_whole(saved, tmp_path):
    student, folder = saved
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import json; from rebase_hf import load_student; "
        f"print(json.dumps(load_student('org/s').predict({QUESTIONS!r})))"
    )
    with HubServer() as hub:
        hub.add_repo("org/s", {**files, "knowledge/x.pkl": b"not to be fetched"}, repo_type="model")
        done = subprocess.run(
            [sys.executable, "-c", code], env=hub.env(home), cwd=home, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == student.predict(QUESTIONS)
    assert not list(home.rglob("*.pkl"))


def test_texts_alone_and_datasets_are_knowledge_too(tmp_path):
    texts = ["Ice floats.", "ice  floats.", " "]
    store = build_knowledge_store(tmp_path, texts, license="mit", encoder=HashingEncoder())
    assert [row.cells for row in store.rows([0])] == [{"text": "Ice floats."}]
    assert len(store) == 1
    rows = Dataset.from_dict({"note": ["Cork floats.", "Lead sinks."]})
    store = build_knowledge_store(tmp_path, rows, column="note", license="mit", encoder=HashingEncoder())
    assert [row.cells["text"] for row in store.rows([0, 1])] == ["Cork floats.", "Lead sinks."]


@pytest.mark.parametrize(
    ("knowledge", "options", "error", "message"),
    [
        ("one text", {"license": "mit"}, StudentError, "is one text; give a list"),
        ([{"other": "x"}], {"license": "mit"}, StudentError, "no row has a text in `rationale`"),
        ([3], {"license": "mit"}, StudentError, "Row 0 is int; expected a text"),
        (["a text"], {}, StudentError, "Of 1 of 1 texts the licence is not known"),
        (["a text"], {"license": "cc-by-nc-4.0"}, RowIndexError, "license_not_allowed"),
    ],
)
def test_what_can_t_be_stored_is_refused(tmp_path, knowledge, options, error, message):
    with pytest.raises(error, match=message):
        build_knowledge_store(tmp_path / "student", knowledge, encoder=HashingEncoder(), **options)


@pytest.mark.slow
def test_the_example_runs(tiny_t5, tiny_encoder, tmp_path):
    folder = tmp_path / "student"
    script = [sys.executable, str(EXAMPLES / "knowledge-store" / "make_student.py"), "--output", str(folder)]
    tiny = ["--base-model", tiny_t5, "--encoder", tiny_encoder, "--max-pairs", "16"]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*script, *tiny], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("answer: ")
    assert "(apache-2.0)" in done.stdout
    read = done.stdout.split("read: ")[1].rsplit(" (", 1)[0]
    told = [json.loads(line) for line in (EXAMPLES / "knowledge-store" / "train.jsonl").read_text().splitlines()]
    assert read in {row["rationale"] for row in told}


def test_the_page_shows_what_the_example_does():
    page = (ROOT / "docs" / "knowledge-store.md").read_text()
    script = (EXAMPLES / "knowledge-store" / "make_student.py").read_text()
    for said in (
        "build_knowledge_store(",
        'kind="grounded"',
        "index=store",
        "load_student(",
        "predict_with_evidence(",
    ):
        assert said in page
        assert said in script
