"""Train the student that fits a task, and load it again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rebase_hf.embedding_model import DEFAULT_MODEL, find_embedding_model
from rebase_hf.errors import StudentError, require
from rebase_hf.students.saving import read_saved
from rebase_hf.students.student import Student, TrainingRow, training_rows
from rebase_hf.task import Task

DEFAULT_MAX_PAIRS = 1200


def train_student(
    task: Any,
    dataset: Any,
    *,
    base_model: str | None = None,
    output_dir: str | Path | None = None,
    seed: int = 0,
    max_pairs: int = DEFAULT_MAX_PAIRS,
    include_examples: bool = True,
) -> Student:
    """Train a student for a task, of the kind that the task asks for.

    classification -> SetFit; extractive -> an encoder that answers with a span of the text; generation -> a
    sequence-to-sequence model, which learns to reason first where the task's rows have rationales.

    Args:
        task: A Task, or whatever `Task.load` takes.
        dataset: A `datasets.Dataset` (or a DatasetDict with a `train` split), or an iterable of dicts or Examples.
        base_model: Folder or Hub id of the model to start from; None takes the kind's default.
        output_dir: Save the student there.
        max_pairs: How much it is trained: the number of pairs (SetFit), or of rows shown, repeated as needed (the
            others). The same whatever the number of rows.
        include_examples: Train on the task's own examples too.

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
    rows = training_rows(task, dataset, include_examples=include_examples)
    student = train_on_rows(task, rows, base_model=base_model, seed=seed, max_pairs=max_pairs)
    if output_dir is not None:
        student.save(output_dir)
    return student


def train_on_rows(
    task: Task, rows: Sequence[TrainingRow], *, base_model: str | None, seed: int, max_pairs: int
) -> Student:
    """Train the kind of student that fits the task on rows that are ready."""
    if max_pairs < 1:
        raise StudentError(f"`max_pairs` is {max_pairs}; a student needs at least 1 to learn from.")
    if task.kind == "classification":
        from rebase_hf.students.classification import train_setfit_student

        return train_setfit_student(task, rows, base_model=base_model, seed=seed, max_pairs=max_pairs)
    if task.kind == "extractive":
        from rebase_hf.students.extractive import train_extractive_student

        return train_extractive_student(task, rows, base_model=base_model, seed=seed, rows_shown=max_pairs)
    from rebase_hf.students.seq2seq import train_seq2seq_student

    return train_seq2seq_student(task, rows, base_model=base_model, seed=seed, rows_shown=max_pairs)


def check_base_model(task: Task, base_model: str | None) -> None:
    """Raise when the student of a task could not be trained here: before anything is paid for its data.

    Raises:
        MissingExtraError: What this kind of student is trained with is not installed.
        StudentError: Its base model is neither a folder, nor in the local cache, nor to be had from the Hub.
    """
    extra = "setfit" if task.kind == "classification" else "trainer"
    require("setfit" if extra == "setfit" else "transformers", what=f"A student for a {task.kind} task", extra=extra)
    from rebase_hf.students.seq2seq import DEFAULT_BASE_MODEL

    default = DEFAULT_BASE_MODEL if task.kind == "generation" else DEFAULT_MODEL
    found = find_embedding_model(base_model or default)
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


def load_student(path_or_repo_id: str | Path, revision: str | None = None) -> Student:
    """Load a saved student from a folder or the Hub. Nothing is unpickled, and no code of its folder is run.

    Raises:
        StudentError: There is no student, or it is damaged, or of a kind or format that this version does not know.
        MissingExtraError: What it runs on is not installed.
    """
    saved = read_saved(path_or_repo_id, revision)
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
        f"Student {path_or_repo_id} is of kind `{saved.kind}`; this version knows setfit, extractive and seq2seq. "
        "Upgrade rebase-hf."
    )
