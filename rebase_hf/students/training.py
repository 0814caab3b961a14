"""Train the student that fits a task, and load it again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.embedding_model import find_embedding_model
from rebase_hf.errors import StudentError
from rebase_hf.students.leaks import without_leaks
from rebase_hf.students.named import KINDS, kind_for
from rebase_hf.students.saving import read_saved
from rebase_hf.students.student import Student, TrainingRow, training_rows
from rebase_hf.task import Task

DEFAULT_MAX_PAIRS = 1200


def train_student(
    task: Any,
    dataset: Any,
    *,
    kind: str | None = None,
    base_model: str | None = None,
    output_dir: str | Path | None = None,
    seed: int = 0,
    max_pairs: int = DEFAULT_MAX_PAIRS,
    include_examples: bool = True,
    **options: Any,
) -> Student:
    """Train a student for a task, of the kind that the task asks for or that `kind` names.

    classification -> SetFit; extractive -> an encoder that answers with a span of the text; generation -> a
    sequence-to-sequence model, which learns to reason first where the task's rows have rationales. Rows that give
    away the task's evaluation set, where it names one, are left out of training, counted and told.

    Args:
        task: A Task, or whatever `Task.load` takes.
        dataset: A `datasets.Dataset` (or a DatasetDict with a `train` split), or an iterable of dicts or Examples.
        kind: `setfit`, `encoder` or `linear` for classification; `extractive`; `seq2seq` or `causal` for any task.
        base_model: Folder or Hub id of the model to start from; None takes the kind's default.
        output_dir: Save the student there.
        max_pairs: How much it is trained: the number of pairs (SetFit), or of rows shown, repeated as needed (the
            others). The same whatever the number of rows. A linear student sees every row, whatever it says.
        include_examples: Train on the task's own examples too.
        options: The kind's own: `learning_rate`, `batch_size`, `max_length`, `rationales`, ...

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
    rows, _ = without_leaks(
        task, training_rows(task, dataset, include_examples=include_examples), task.evaluation_rows()
    )
    student = train_on_rows(
        task, rows, kind=kind, base_model=base_model, seed=seed, max_pairs=max_pairs, options=options
    )
    if output_dir is not None:
        student.save(output_dir)
    return student


def train_on_rows(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    kind: str | None = None,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    options: Mapping[str, Any] | None = None,
) -> Student:
    """Train the kind of student that fits the task, or that `kind` names, on rows that are ready."""
    if max_pairs < 1:
        raise StudentError(f"`max_pairs` is {max_pairs}; a student needs at least 1 to learn from.")
    chosen = kind_for(task, kind)
    read = chosen.read_options(options or {})
    chosen.require(read)
    return chosen.train(task, rows, base_model=base_model, seed=seed, max_pairs=max_pairs, options=read)


def check_base_model(
    task: Task, base_model: str | None, kind: str | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Raise when the student of a task could not be trained here: before anything is paid for its data.

    Raises:
        MissingExtraError: What this kind of student is trained with is not installed.
        StudentError: The kind does not fit the task, an option is wrong, or the base model is neither a folder, nor
            in the local cache, nor to be had from the Hub.
    """
    chosen = kind_for(task, kind)
    chosen.require(chosen.read_options(options or {}))
    found = find_embedding_model(base_model or chosen.default_model)
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
    if saved.kind not in KINDS:
        raise StudentError(
            f"Student {path_or_repo_id} is of kind `{saved.kind}`; this version knows {', '.join(KINDS)}. "
            "Upgrade rebase-hf."
        )
    return KINDS[saved.kind].load(saved)
