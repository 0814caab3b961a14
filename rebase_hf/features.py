"""The columns of the dataset that comes out."""

from typing import TYPE_CHECKING

from rebase_hf.task import Task

if TYPE_CHECKING:
    from datasets import Features

PROVENANCE = {
    "dataset": "string",
    "config": "string",
    "split": "string",
    "revision": "string",
    "row": "int64",
    "license": "string",
    "url": "string",
    "score": "float64",
    "method": "string",
    "teacher": "string",
    "prompt_id": "string",
}
SOURCE = {
    "role": "string",
    "dataset": "string",
    "config": "string",
    "split": "string",
    "revision": "string",
    "row": "int64",
    "license": "string",
}


def task_features(task: Task, *, rationales: bool = False, passages: bool = False) -> "Features":
    """Return the features of a task's dataset: its fields, a rationale where it reasons, and where rows come from.

    The label is a ClassLabel in the task's order; all other fields are strings.

    Args:
        rationales: The method writes rationales, also where the task's examples have none.
        passages: The method gives each example the passages that were retrieved for it.
    """
    from datasets import ClassLabel, Features, Value

    # A list with one dict stands for "list of structs" in datasets 4 and 5 alike.
    columns = {name: Value("string") for name in task.fields}
    if task.labels:
        columns[task.output] = ClassLabel(names=list(task.labels))
    if task.reasons or rationales:
        columns["rationale"] = Value("string")
    if passages:
        columns["passages"] = [Value("string")]
    columns["provenance"] = {name: Value(kind) for name, kind in PROVENANCE.items()}
    columns["sources"] = [{name: Value(kind) for name, kind in SOURCE.items()}]
    return Features(columns)
