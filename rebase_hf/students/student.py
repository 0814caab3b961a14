"""What a student is, and the rows that go into one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rebase_hf.errors import StudentError
from rebase_hf.rows import Example
from rebase_hf.students.metrics import expected_calibration_error, score
from rebase_hf.task import Task

Input = str | Mapping[str, Any]


class Student(Protocol):
    """A trained model that does one task.

    Attributes:
        task: The task that it was trained for.
        kind: The name of its kind: `setfit`, `encoder`, ...
        facts: How it was trained, as `training.json` holds it.
    """

    task: Task
    kind: str
    facts: Mapping[str, Any]

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """Return the output for each input, in order: a label, a span, or a text."""

    def evaluate(self, rows: Iterable[Any] | None = None) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on the task's evaluation rows."""

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder that stands alone; without `pickle`, nothing in it has to be unpickled."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row to learn from.

    Attributes:
        fields: The task's fields as text.
        rationale: The reasoning that leads to the output, where there is one.
        passages: What was retrieved for it, to be read with the inputs; empty where it is to be read without; None
            where nobody has looked for any.
        source: The dataset that it was made from, where that is known.
        license: That dataset's licence.
        is_example: Whether it is one of the task's own examples.
        is_phrase: Whether it is the phrase of a label.
    """

    fields: Mapping[str, str]
    rationale: str | None = None
    source: str | None = None
    license: str | None = None
    is_example: bool = False
    passages: tuple[str, ...] | None = None
    is_phrase: bool = False


def training_rows(
    task: Task, dataset: Any, *, include_examples: bool = True, rationales: bool | None = None
) -> list[TrainingRow]:
    """Return the rows to train on: the task's examples first, then the dataset's.

    Args:
        dataset: A `datasets.Dataset` (true class labels are decoded), a DatasetDict (its `train` split), or an
            iterable of dicts or of `Example`.
        rationales: Whether each input stands once for each of its rationales, of which KARD learns every one, in place
            of once; None where rows come with passages.

    Raises:
        StudentError: There is nothing to train on.
        TaskError: A row lacks a field, or has a label that the task does not know.
    """
    examples = [example_row(task, example) for example in task.examples] if include_examples else []
    given = [_training_row(task, row, number) for number, row in enumerate(plain_rows(dataset))]
    rationales = any(row.passages is not None for row in given) if rationales is None else rationales
    rows = distinct_rows(task, (*examples, *given), rationales=rationales)
    if not rows:
        raise StudentError(f"Task `{task.name}`: there are no rows to train on; the dataset is empty.")
    return rows


def distinct_rows(task: Task, rows: Iterable[TrainingRow], *, rationales: bool = False) -> list[TrainingRow]:
    """Return the first row of each input; where `rationales`, of each input with each rationale."""
    kept: dict[tuple[str | None, ...], TrainingRow] = {}
    for row in rows:
        kept.setdefault((*(row.fields[name] for name in task.inputs), row.rationale if rationales else None), row)
    return list(kept.values())


def example_row(task: Task, example: Mapping[str, str]) -> TrainingRow:
    """Return one of the task's own examples as a row to train on."""
    return TrainingRow({name: example[name] for name in task.fields}, example.get("rationale"), is_example=True)


def phrase_rows(task: Task) -> list[TrainingRow]:
    """Return the labels' phrases as rows with these labels; none where there are none, or several inputs."""
    if len(task.inputs) > 1:
        return []
    described = {label: phrase for label, phrase in task.labels.items() if phrase != label}
    return [
        TrainingRow({task.inputs[0]: phrase, task.output: label}, is_phrase=True)
        for label, phrase in described.items()
    ]


def check_inputs(task: Task, inputs: Sequence[Input]) -> list[dict[str, str]]:
    """Return what a student is asked as dicts of the task's input fields.

    Raises:
        StudentError: An input is neither a text (for a task with one input) nor a dict with the task's inputs.
    """
    if isinstance(inputs, str | Mapping):
        raise StudentError(
            f"`predict` was given one {type(inputs).__name__}; it takes a list of inputs. Put it in brackets."
        )
    _refuse_no_rows(inputs, "`predict` was given")
    return [_check_input(task, item, number) for number, item in enumerate(inputs)]


def evaluation_scores(student: Student, rows: Iterable[Any] | None) -> dict[str, float]:
    """Return a student's metrics on labelled rows, by default on its task's evaluation rows.

    Of a student that says how sure it is, its calibration error (`ece`) is the last.

    Raises:
        StudentError: There are no such rows.
    """
    held_out = evaluation_fields(student.task, rows)
    references = [row[student.task.output] for row in held_out]
    if not hasattr(student, "predict_proba"):
        return score(student.task, student.predict(held_out), references)
    labels = list(student.task.labels)
    probabilities = student.predict_proba(held_out)
    scores = score(student.task, [labels[place] for place in probabilities.argmax(axis=1)], references)
    return scores | {"ece": expected_calibration_error(probabilities, references, labels)}


def evaluation_fields(task: Task, rows: Iterable[Any] | None) -> list[dict[str, str]]:
    """Return the fields of the rows to score by: those given, by default the task's evaluation rows.

    Raises:
        StudentError: There are none.
        TaskError: A row does not fit the task.
    """
    if rows is None:
        held_out = task.evaluation_rows()
    else:
        held_out = [dict(_training_row(task, row, number).fields) for number, row in enumerate(plain_rows(rows))]
    if not held_out:
        raise StudentError(
            f"Task `{task.name}` has no evaluation rows to score students by; "
            "name some under `evaluation` in the task file, or pass rows."
        )
    return held_out


def plain_rows(dataset: Any) -> Iterable[Any]:
    """Yield rows with class ids as names, whatever the container."""
    if isinstance(dataset, Mapping):
        if "train" not in dataset:
            raise StudentError(f"The dataset has the splits {', '.join(map(str, dataset))}, but no `train`; pass one.")
        dataset = dataset["train"]
    if isinstance(dataset, str | bytes):
        raise StudentError(f"The dataset is the text `{dataset!r}`; pass rows, as `load_dataset` returns them.")
    _refuse_no_rows(dataset, "The dataset is")
    features = getattr(dataset, "features", None) or {}
    names = {name: feature.names for name, feature in features.items() if hasattr(feature, "names")}
    for row in dataset:
        if names:
            row = {k: names[k][v] if k in names and isinstance(v, int) and v >= 0 else v for k, v in row.items()}
        yield row


def _refuse_no_rows(given: Any, what: str) -> None:
    """Raise for what gives no rows when it is gone through: None, a number, or a table, which gives names."""
    if hasattr(given, "columns") and hasattr(given, "to_dict"):
        way = ".to_dicts()" if hasattr(given, "to_dicts") else '.to_dict("records")'
        raise StudentError(f"{what} a {type(given).__name__}, not rows; pass its rows: {way} gives them.")
    if not isinstance(given, Iterable) and not hasattr(given, "__getitem__"):
        raise StudentError(f"{what} {given!r:.80}; expected a list, or a dataset.")


def _training_row(task: Task, row: Any, number: int) -> TrainingRow:
    if isinstance(row, Example):
        row = row.to_record()
    if not isinstance(row, Mapping):
        raise StudentError(f"Row {number} is {type(row).__name__}; expected a dict with {', '.join(task.fields)}.")
    provenance, passages = row.get("provenance") or {}, row.get("passages")
    return TrainingRow(
        fields=task.check_row(row, f"row {number}"),
        rationale=str(row["rationale"]) if row.get("rationale") else None,
        source=provenance.get("dataset"),
        license=provenance.get("license"),
        passages=None if passages is None else tuple(str(passage) for passage in passages),
    )


def _check_input(task: Task, item: Any, number: int) -> dict[str, str]:
    needed = ", ".join(f"`{name}`" for name in task.inputs)
    if isinstance(item, str):
        if len(task.inputs) > 1:
            raise StudentError(f"Input {number} is a text; task `{task.name}` takes a dict with {needed}.")
        return {task.inputs[0]: item}
    if not isinstance(item, Mapping):
        also = "a text or " if len(task.inputs) == 1 else ""
        raise StudentError(
            f"Input {number} is {type(item).__name__}; task `{task.name}` takes {also}a dict with {needed}."
        )
    if missing := [name for name in task.inputs if item.get(name) is None]:
        raise StudentError(
            f"Input {number} lacks `{missing[0]}`; it has {', '.join(f'`{name}`' for name in item) or 'nothing'}. "
            f"Task `{task.name}` needs {needed}."
        )
    return {name: str(item[name]) for name in task.inputs}
