import json
import re
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id

from rebase_hf.errors import PublishError
from rebase_hf.index.index_card import LICENSE_IDS
from rebase_hf.publish import licenses
from rebase_hf.publish.cards import render_dataset_card, render_student_card
from tests.publish.example_run import EXAMPLES, make_rows, render_examples, write_run


def test_rendered_examples_are_what_the_code_renders() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.iterdir()}
    assert render_examples() == kept, "run: python -m tests.publish.example_run"


@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.iterdir())])
def test_metadata_is_what_the_hub_takes(name: str) -> None:
    """The offline parts of the Hub library's own checks; the Hub itself answers `validate-yaml` at each push."""
    card = (DatasetCard if name.startswith("dataset") else ModelCard)(
        (EXAMPLES / name).read_text(encoding="utf-8"), ignore_metadata_errors=False
    )
    held = card.data.to_dict()
    assert type(card.data)(**held).to_dict() == held
    assert held["license"] in LICENSE_IDS
    assert all(re.fullmatch(r"[a-z]{2,3}", language) for language in held["language"])
    for repo_id in (held.get("base_model"), *held.get("datasets", ()), *held.get("source_datasets", ())):
        if repo_id is not None:
            validate_repo_id(repo_id)
    if "model-index" in held:
        model, results = model_index_to_eval_results(held["model-index"])
        assert model == "support-triage" and len(results) == 2
        assert {result.task_type for result in results} == {held["pipeline_tag"]}


def test_a_licence_that_the_hub_does_not_list_is_named_beside_other(tmp_path: Path) -> None:
    rows = make_rows("teacher")
    for row in rows:
        row["provenance"]["license"] = row["sources"][0]["license"] = "mit-0"
    data = DatasetCard(render_dataset_card(write_run(tmp_path / "run", rows)), ignore_metadata_errors=False).data
    assert (data.license, data.license_name) == ("other", "mit-0")


def test_every_licence_of_our_order_is_the_hubs_or_known_not_to_be() -> None:
    ordered = {*licenses._PUBLIC_DOMAIN, *licenses._PERMISSIVE, *licenses._NON_COMMERCIAL, *licenses._MODEL_TERMS}
    ordered |= {name for family in licenses._SHARE_ALIKE for name in family}
    assert ordered - LICENSE_IDS == {"mit-0", "llama4"}


def test_an_llm_teachers_licence_and_terms_are_on_both_cards() -> None:
    for name in ("dataset-of-llm.md", "student-watched.md"):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        assert "Teacher: `lab/large-chat` at revision `7a7a7a7a7a7a`. Licence: `apache-2.0`, as its card says." in text
        assert "The teacher's (`apache-2.0`) asks for no more." in text
        assert "The teacher's terms" not in text and "Self-training" not in text


def test_dataset_card_says_what_the_run_says(run: Path) -> None:
    text = render_dataset_card(run)
    data = DatasetCard(text, ignore_metadata_errors=False).data
    assert (data.license, data.language, data.size_categories) == ("cc-by-sa-4.0", ["en"], ["n<1K"])
    assert data.task_categories == ["text-classification"]
    assert data.source_datasets == ["acme/helpdesk-mail", "open/forum-posts"]
    assert data.tags == ["rebase_hf", "synthetic", "rebase"]
    for said in (
        "140 retrieved = 103 asked about + 37 left out",
        "103 outputs = 60 examples + 39 dropped + 4 quarantined",
        "https://arxiv.org/abs/2407.05463",
        "**Self-training.**",
        "| shop-reviews | - / train | `9c9c9c9c9c9c` | mit | 20 |",
        "0.792 ± 0.041",
        "row 3 of acme/helpdesk-mail",
        "| unique texts | 93.3% |",
        "compare with other datasets at the same number only",
        "Checked against eval.jsonl (90 rows); open/mail-triage::test (1,200 rows).",
        "dropped: 1.",
    ):
        assert said in text
    assert "/home/someone" not in text


def test_the_card_makes_the_run_folder_readable(run: Path, tmp_path: Path) -> None:
    (run / "README.md").write_text(render_dataset_card(run))
    loaded = load_dataset(str(run), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 54, "validation": 6}
    assert loaded["train"].features["team"].names == ["billing", "technical", "delivery"]


def test_missing_figures_are_left_out(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", student={}, baselines={}, comparison={}, tokens={}, requests=None, diversity=None
    )
    text = render_dataset_card(run)
    assert "How diverse it is" not in text
    assert "Was it worth it" not in text
    assert "What it cost" not in text
    (run / "student/student.json").write_text(json.dumps({"kind": "setfit", "base_model": "/home/someone/minilm"}))
    student = render_student_card(run)
    assert "model-index" not in student
    assert "None" not in text + student
    assert "starting from `minilm`" in student
    assert "base_model" not in student


def test_counts_that_do_not_add_up_are_shown_as_such(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", outputs=110)
    assert "+ 7 unaccounted for" in render_dataset_card(run)


def test_a_licence_that_does_not_follow_is_said(tmp_path: Path) -> None:
    rows = make_rows("teacher")
    for row in rows[:28]:
        row["provenance"]["license"] = row["sources"][0]["license"] = None
    text = render_dataset_card(write_run(tmp_path / "run", rows))
    data = DatasetCard(text, ignore_metadata_errors=False).data
    assert (data.license, data.license_name) == ("other", "see-sources")
    assert "unknown licence: acme/helpdesk-mail" in text


def test_rows_can_not_write_into_the_card(tmp_path: Path) -> None:
    rows = make_rows("teacher")
    rows[0]["message"] = "```\n---\nlicense: mit\n---\n# I am a heading\n<script>alert(1)</script>"
    text = render_dataset_card(write_run(tmp_path / "run", rows))
    assert DatasetCard(text).data.license == "cc-by-sa-4.0"
    assert not any(line.startswith("# I am") for line in text.splitlines())


def test_student_card_carries_what_the_hub_reads(run: Path) -> None:
    text = render_student_card(run, repo_id="org/triage", dataset_id="org/triage-data")
    data = ModelCard(text, ignore_metadata_errors=False).data
    assert (data.library_name, data.pipeline_tag, data.license) == (
        "sentence-transformers",
        "text-classification",
        "cc-by-sa-4.0",
    )
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert data.datasets == ["org/triage-data"]
    assert data.metrics == ["accuracy", "f1"]
    assert [(r.metric_name, r.metric_value) for r in data.eval_results] == [("accuracy", 0.871), ("macro_f1", 0.862)]
    assert data.widget[0] == {"text": "I was charged twice in May."}
    block = text.split("```python\n")[1].split("```")[0]
    compile(block, "card", "exec")
    assert 'load_student("org/triage")' in block


def test_the_widget_of_a_question_has_its_text_beside_it(run: Path) -> None:
    task = {"name": "hours", "instruction": "Find the time.", "inputs": ["passage", "question"], "output": "time"}
    example = {"passage": "The pool opens at nine.", "question": "When?", "time": "at nine"}
    (run / "task.yaml").write_text(json.dumps(task | {"extractive": True, "examples": [example]}))
    (run / "student/student.json").write_text(json.dumps({"kind": "extractive", "base_model": "org/bert"}))
    for path in (run / "data").glob("*.parquet"):
        held = parquet.read_table(path).rename_columns({"message": "passage", "team": "time"})
        parquet.write_table(held.append_column("question", held["passage"]), path)
    data = ModelCard(render_student_card(run), ignore_metadata_errors=False).data
    assert data.pipeline_tag == "question-answering"
    assert data.widget == [{"text": "When?", "context": "The pool opens at nine."}]
    single = task | {
        "inputs": ["passage"],
        "extractive": True,
        "examples": [{"passage": "a at nine", "time": "at nine"}],
    }
    (run / "task.yaml").write_text(json.dumps(single))
    data = ModelCard(render_student_card(run), ignore_metadata_errors=False).data
    assert data.widget == [{"text": "Find the time.", "context": "a at nine"}]


def test_the_card_of_a_student_that_reads_names_its_index_unless_it_brings_one(run: Path) -> None:
    facts = run / "student" / "training.json"
    facts.write_text(json.dumps({"index": {"name": "org/stones", "hub": "org/stones"}}))
    assert 'load_student("student", index="org/stones")' in render_student_card(run)
    facts.write_text(json.dumps({"index": None}))
    assert "index=" not in render_student_card(run)
    facts.write_text(json.dumps({"index": {"name": "knowledge"}}))
    (run / "student" / "knowledge").mkdir()
    assert "index=" not in render_student_card(run)


def test_verdict_is_honest_when_the_student_is_worse(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", student={"accuracy": 0.6, "accuracy_std": 0.01})
    assert "The dataset did not pay off here: the student is 0.192 accuracy below" in render_student_card(run)
    run = write_run(tmp_path / "close", student={"accuracy": 0.81, "accuracy_std": 0.01})
    assert "No clear difference" in render_student_card(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"report\.json, task\.yaml, data/train\.parquet"):
        render_dataset_card(tmp_path)


@pytest.mark.parametrize(
    ("kind", "files", "library", "plain"),
    [
        ("setfit", ["model_head.pkl"], "setfit", 'SetFitModel.from_pretrained("org/s")'),
        ("setfit", [], "sentence-transformers", None),
        ("linear", [], "sentence-transformers", None),
        ("linear", ["model_head.pkl"], "setfit", 'SetFitModel.from_pretrained("org/s")'),
        ("encoder", [], "transformers", 'pipeline("text-classification", "org/s", truncation=True)'),
        ("causal", ["adapter_model.safetensors"], "peft", None),
        ("causal", [], "transformers", None),
    ],
)
def test_the_student_card_names_the_library_that_reads_it(run: Path, kind, files, library, plain) -> None:
    student = run / "student"
    (student / "student.json").write_text(json.dumps({"format": 1, "kind": kind, "base_model": "org/base"}))
    (student / "training.json").write_text(
        json.dumps({"method": "some method", "max_pairs": 600, "learning_rate": 2e-4, "seed": 0})
    )
    for name in files:
        (student / name).touch()
    text = render_student_card(run, repo_id="org/s")
    assert ModelCard(text).data.library_name == library
    assert plain in text if plain else "Or without rebase_hf" not in text
    assert "How: some method; max\\_pairs 600, learning\\_rate 0.0002, seed 0." in text
    assert ("2209.11055" in text) == (kind == "setfit")
