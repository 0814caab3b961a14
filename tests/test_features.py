import pytest
from datasets import ClassLabel, Dataset, Value

from rebase_hf.features import PROVENANCE, SOURCE, task_features
from rebase_hf.quality.gate import provenance
from rebase_hf.rows import Completion, Draft, Example, RetrievedRow, SourceRow
from rebase_hf.task import Task

CONTENT = {
    "name": "triage",
    "instruction": "Decide.",
    "inputs": ["message"],
    "output": "team",
    "labels": ["delivery", "billing"],
    "examples": [{"message": "I was charged twice.", "team": "billing", "rationale": "Charges are payments."}],
}
BARE = CONTENT | {"examples": [{"message": "I was charged twice.", "team": "billing"}]}
ROW = SourceRow("org/mails", None, "train", "abc", 7, None, "https://hub/org/mails", {"text": "x"})


def test_the_label_is_a_class_in_the_tasks_order_and_all_else_text():
    features = task_features(Task.load(CONTENT))
    assert list(features) == ["message", "team", "rationale", "provenance", "sources"]
    assert features["team"] == ClassLabel(names=["delivery", "billing"])
    assert features["message"] == features["rationale"] == Value("string")
    assert "rationale" not in task_features(Task.load(BARE))
    assert task_features(Task.load(BARE | {"labels": {}}))["team"] == Value("string")


def test_provenance_and_sources_are_what_the_gate_and_the_rows_write():
    draft = Draft((), None, row=RetrievedRow(ROW, 0.5))
    assert list(PROVENANCE) == list(provenance(draft, Completion("k", "", "stop", "m"), method="rebase", teacher="m"))
    assert list(SOURCE) == list(ROW.reference("context"))


@pytest.mark.parametrize("retrieved", [True, False])
def test_examples_fit_the_features(retrieved):
    draft = Draft((), None, row=RetrievedRow(ROW, 0.5) if retrieved else None)
    sources = (ROW.reference("context"), ROW.reference("shot")) if retrieved else ()
    example = Example(
        {"message": "Where is it?", "team": "delivery"},
        "It is late.",
        provenance(draft, Completion("k", "", "stop", "m"), method="rebase", teacher="m"),
        sources,
    )
    dataset = Dataset.from_list([example.to_record()], features=task_features(Task.load(CONTENT)))
    row = dataset[0]
    assert (row["message"], row["team"], row["rationale"]) == ("Where is it?", 0, "It is late.")
    assert row["provenance"] == dict(example.provenance)
    assert row["sources"] == [dict(source) for source in sources]


@pytest.mark.parametrize("teacher", ["/data", "/home/someone/models/data", "local:/home/someone/data"])
def test_provenance_names_no_folder_of_this_machine(teacher):
    row = SourceRow("mails", None, "train", "abc", 7, None, "/home/someone/mails.csv", {"text": "x"})
    draft = Draft((), None, row=RetrievedRow(row, 0.5))
    told = provenance(draft, Completion("k", "", "stop", "m"), method="rebase", teacher=teacher)
    assert told["teacher"] == ("local:data" if teacher.startswith("local:") else "data")
    assert told["url"] == "mails.csv"
