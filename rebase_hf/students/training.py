"""Train the student that fits a task, and load it again."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.embedding_model import DEFAULT_MODEL, find_embedding_model
from rebase_hf.errors import StudentError, require
from rebase_hf.students.saving import read_saved
from rebase_hf.students.student import Student, TrainingRow, distinct_rows, training_rows
from rebase_hf.task import Task

if TYPE_CHECKING:
    from rebase_hf.students.grounded_training import GroundedOptions

DEFAULT_MAX_PAIRS = 1200
KINDS = ("setfit", "extractive", "seq2seq", "grounded")


def train_student(
    task: Any,
    dataset: Any,
    *,
    base_model: str | None = None,
    output_dir: str | Path | None = None,
    seed: int = 0,
    max_pairs: int = DEFAULT_MAX_PAIRS,
    include_examples: bool = True,
    kind: str | None = None,
    index: Any = None,
    grounded: "GroundedOptions | None" = None,
) -> Student:
    """Train a student for a task, of the kind that the task and the rows ask for.

    classification -> SetFit; extractive -> an encoder that answers with a span of the text; generation -> a
    sequence-to-sequence model, which learns to reason first where the task's rows have rationales. Rows with a column
    `passages` (method `kard`) -> a student that retrieves, reasons and votes, whatever the task.

    Args:
        task: A Task, or whatever `Task.load` takes.
        dataset: A `datasets.Dataset` (or a DatasetDict with a `train` split), or an iterable of dicts or Examples.
        base_model: Folder or Hub id of the model to start from; None takes the kind's default.
        output_dir: Save the student there.
        max_pairs: How much it is trained: the number of pairs (SetFit), or of rows shown, repeated as needed (the
            others). The same whatever the number of rows.
        include_examples: Train on the task's own examples too.
        kind: `setfit`, `extractive`, `seq2seq` or `grounded`, in place of what fits.
        index: Where a grounded student finds its passages: a RowIndex, its folder or Hub id.
        grounded: How a grounded student is trained, and reads.

    Raises:
        StudentError: It can't be trained on what was given.
        TaskError: A row does not fit the task.
        MissingExtraError: What this kind of student is trained with is not installed.

    Example:
        >>> student = train_student("task.yaml", dataset, output_dir="student")  # doctest: +SKIP
        >>> student.predict(["I was charged twice in May."])  # doctest: +SKIP
        ['billing']
    """
    task = Task.load(task)
    every = True if kind == "grounded" else None
    rows = training_rows(task, dataset, include_examples=include_examples, rationales=every)
    student = train_on_rows(
        task, rows, base_model=base_model, seed=seed, max_pairs=max_pairs, kind=kind, index=index, grounded=grounded
    )
    if output_dir is not None:
        student.save(output_dir)
    return student


def student_kind(task: Task, rows: Sequence[TrainingRow], kind: str | None = None) -> str:
    """Return the kind of student that fits a task and its rows, or the one asked for.

    Raises:
        StudentError: There is no such kind, or it can't do the task.
    """
    fitting = {"classification": "setfit", "extractive": "extractive", "generation": "seq2seq"}[task.kind]
    if kind is None:
        return "grounded" if any(row.passages is not None for row in rows) else fitting
    if kind not in KINDS:
        raise StudentError(f"`kind` is `{kind}`; expected one of {', '.join(KINDS)}.")
    if kind in ("setfit", "extractive") and kind != fitting:
        raise StudentError(
            f"A student of kind `{kind}` can't do task `{task.name}`, a {task.kind} task; expected {fitting}, seq2seq "
            "or grounded."
        )
    return kind


def train_on_rows(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    kind: str | None = None,
    index: Any = None,
    grounded: "GroundedOptions | None" = None,
) -> Student:
    """Train the kind of student that fits the task, or the one asked for, on rows that are ready."""
    if max_pairs < 1:
        raise StudentError(f"`max_pairs` is {max_pairs}; a student needs at least 1 to learn from.")
    kind = student_kind(task, rows, kind)
    if kind == "grounded":
        from rebase_hf.students.grounded_training import train_grounded_student

        return train_grounded_student(
            task, rows, base_model=base_model, seed=seed, rows_shown=max_pairs, index=index, options=grounded
        )
    rows = distinct_rows(task, rows)
    if kind == "setfit":
        from rebase_hf.students.classification import train_setfit_student

        return train_setfit_student(task, rows, base_model=base_model, seed=seed, max_pairs=max_pairs)
    if kind == "extractive":
        from rebase_hf.students.extractive import train_extractive_student

        return train_extractive_student(task, rows, base_model=base_model, seed=seed, rows_shown=max_pairs)
    from rebase_hf.students.seq2seq import train_seq2seq_student

    return train_seq2seq_student(task, rows, base_model=base_model, seed=seed, rows_shown=max_pairs)


def check_base_model(task: Task, base_model: str | None, *, passages: bool = False) -> None:
    """Raise when the student of a task could not be trained here: before anything is paid for its data.

    Args:
        passages: Its rows will have passages, so that it will be a grounded one.

    Raises:
        MissingExtraError: What this kind of student is trained with is not installed.
        StudentError: Its base model is neither a folder, nor in the local cache, nor to be had from the Hub.
    """
    extra = "setfit" if task.kind == "classification" and not passages else "trainer"
    require("setfit" if extra == "setfit" else "transformers", what=f"A student for a {task.kind} task", extra=extra)
    from rebase_hf.students.seq2seq import DEFAULT_BASE_MODEL

    writes = task.kind == "generation" or passages
    _check_model(base_model or (DEFAULT_BASE_MODEL if writes else DEFAULT_MODEL))
    if passages:
        _check_model(DEFAULT_MODEL)


def _check_model(name: str) -> None:
    found = find_embedding_model(name)
    if Path(found).is_dir():
        return
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        hf_hub_download(found, "config.json")
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = " ".join(str(error).split())
        raise StudentError(
            f"The student's base model `{found}` is neither a folder here nor in the local cache, and the Hub "
            f"does not give it ({reason}). Name another with --base-model, or make the dataset alone with "
            "`rebase-hf generate`."
        ) from error


def load_student(path_or_repo_id: str | Path, revision: str | None = None, *, index: Any = None) -> Student:
    """Load a saved student from a folder or the Hub. Nothing is unpickled, and no code of its folder is run.

    Args:
        index: Where a grounded student finds its passages, in place of the index that it was trained with.

    Raises:
        StudentError: There is no student, or it is damaged, or of a kind or format that this version does not know, or
            its index is not at hand.
        MissingExtraError: What it runs on is not installed.
    """
    saved = read_saved(path_or_repo_id, revision)
    if saved.kind == "grounded":
        from rebase_hf.students.grounded import load_grounded_student

        return load_grounded_student(saved, index)
    if index is not None and saved.kind in KINDS:
        raise StudentError(f"Student {path_or_repo_id} is of kind `{saved.kind}`, which reads no index. Leave it out.")
    if saved.kind == "setfit":
        from rebase_hf.students.classification import load_setfit_student

        return load_setfit_student(saved)
    if saved.kind == "extractive":
        from rebase_hf.students.extractive import load_extractive_student

        return load_extractive_student(saved)
    if saved.kind == "seq2seq":
        from rebase_hf.students.seq2seq import load_seq2seq_student

        return load_seq2seq_student(saved)
    raise StudentError(
        f"Student {path_or_repo_id} is of kind `{saved.kind}`; this version knows {', '.join(KINDS)}. Upgrade "
        "rebase-hf."
    )
