"""SynthesizRR's benchmark on a kit of a few rows: every example is what was recorded for its document and label."""

import json

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml

from benchmarks import methods_synthesizrr as benchmark
from benchmarks.kit_data import kit_task, write_source
from benchmarks.linear_student import RememberingEncoder
from benchmarks.methods_students import told
from benchmarks.recorded_teacher import replaying
from rebase_hf import RowIndex
from rebase_hf.methods.synthesizrr_options import SynthesizRROptions
from tests.index.hashing_encoder import HashingEncoder

NAME, TABLE = "hypo_l", "worker_vs_gpt_hypo_l"
LABELS = ("hyperbole", "not hyperbole")
SUBJECTS = ("tea", "rain", "buses", "cats", "chess", "bread", "snow", "trains")


def rewrite(subject, label):
    """Return a text that is near to no other: repeats would be dropped."""
    return " ".join(f"{subject}{label[:3]}{number}" for number in range(8))


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A kit with one task, and rewrites of every other subject for one label, of the rest for the other."""
    task = {
        "name": NAME,
        "instruction": "Say whether it exaggerates.",
        "inputs": ["text"],
        "output": "label",
        "labels": {"hyperbole": "deliberate overstatement", "not hyperbole": "meant literally"},
        "examples": [
            {"text": "My bag weighs a ton", "label": "hyperbole"},
            {"text": "It is noon", "label": LABELS[1]},
        ],
        "evaluation": {"path": "eval.parquet"},
    }
    folder = tmp_path / "tasks" / NAME
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(yaml.safe_dump(task))
    write(
        folder / "eval.parquet", [{"text": f"A question about {s}, of the test", "label": LABELS[0]} for s in SUBJECTS]
    )
    write(
        folder / "gold.parquet",
        [{"text": f"Gold words of {s}", "label": LABELS[i % 2]} for i, s in enumerate(SUBJECTS)],
    )
    rows = [
        recorded_row(subject, LABELS[i % 2], in_eval=subject == "trains", teacher=teacher)
        for i, subject in enumerate(SUBJECTS)
        for teacher in ("gpt-4", "another")
    ]
    (tmp_path / "recorded").mkdir()
    write(tmp_path / "recorded" / f"{TABLE}.parquet", rows)
    monkeypatch.setenv("REBASE_KIT", str(tmp_path))


def recorded_row(subject, label, *, in_eval, teacher):
    text = rewrite(subject, label) + ("" if teacher == "gpt-4" else ", says another")
    source = json.dumps({"text": f"The {subject} of today"})
    return {"teacher": teacher, "text": text, "output": label, "source": source, "in_eval": in_eval}


def write(path, rows):
    parquet.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.usefixtures("kit")
@pytest.mark.parametrize("retriever", ["dense", "random"])
def test_examples_are_what_was_recorded_for_their_document_and_label(tmp_path, retriever):
    task = kit_task(NAME, train=True)
    answers, documents = benchmark.rewrites(task, TABLE)
    assert documents == [f"The {subject} of today" for subject in SUBJECTS if subject != "trains"]
    source = write_source(tmp_path / "short_texts", [{"text": text} for text in documents], "Texts.", language="en")
    encoder = RememberingEncoder(HashingEncoder(), tmp_path)
    index = RowIndex.build(tmp_path / "index", [source], encoder=encoder, words=False)
    with replaying(answers) as server:
        options = {"shot_kind": "none"}
        if retriever == "dense":  # random documents have no range, and no shots none either
            options |= {"similarity": (-1.0, 1.0), "shot_similarity": SynthesizRROptions().shot_similarity}
        made = benchmark.run(task, index, server, 100, 0, retriever, **options)
    assert {row["text"] for row in made.rows} == {
        rewrite(subject, LABELS[i % 2]) for i, subject in enumerate(SUBJECTS) if subject != "trains"
    }
    for example in made.examples:
        subject = documents[example.provenance["row"]].split()[1]
        assert example.fields == {"text": rewrite(subject, example.fields["label"]), "label": example.fields["label"]}
    # Four seeds of each label meet seven documents: half of the drafts ask for a label that no rewrite is recorded of.
    counts = told([made])
    assert counts["asked"] == 2 * 4 * 7 and counts["dropped"]["empty_field"] == 4 * 7
    assert counts["examples"] == 7
