"""Train the student that fits a task, and load it again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.students.kind import StudentKind, check_number
from rebase_hf.students.leaks import without_leaks
from rebase_hf.students.named import KINDS, kind_for
from rebase_hf.students.replacing import check_destination
from rebase_hf.students.saving import read_saved
from rebase_hf.students.student import Student, TrainingRow, distinct_rows, phrase_rows, training_rows
from rebase_hf.task import Task

DEFAULT_MAX_PAIRS = 1200
# NumPy takes no larger one.
LAST_SEED = 2**32 - 1


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
    include_phrases: bool = True,
    index: Any = None,
    **options: Any,
) -> Student:
    """Train a student for a task, of the kind that the task and the rows ask for, or that `kind` names.

    classification -> SetFit, or an encoder where a row has several inputs; extractive -> an encoder that answers with
    a span of the text; generation -> a sequence-to-sequence model, which learns to reason first where the task's rows
    have rationales. Rows with a column `passages` (method `kard`) -> a student that retrieves, reasons and votes,
    whatever the task. Rows that give away the task's evaluation set, where it names one, are left out of training,
    counted and told.

    Args:
        task: A Task, or whatever `Task.load` takes.
        dataset: A `datasets.Dataset` (or a DatasetDict with a `train` split), or an iterable of dicts or Examples.
        kind: `setfit`, `encoder` or `linear` for classification; `extractive`; `seq2seq`, `causal` or `grounded` for
            any task.
        base_model: Folder or Hub id of the model to start from; None takes the kind's default.
        output_dir: Save the student there.
        max_pairs: How much it is trained: the number of pairs (SetFit), or of rows shown, repeated as needed (the
            others). The same whatever the number of rows. A linear student sees every row, whatever it says.
        include_examples: Train on the task's own examples too.
        include_phrases: Train a classifier of one text on the labels' phrases too, as texts with these labels: where
            rows are few, or labelled by the few-shot teacher, they say what no row does.
        index: Where a grounded student finds its passages: a RowIndex, its folder or Hub id.
        options: The kind's own: `learning_rate`, `batch_size`, `max_length`, `rationales`, `reading`, ...

    Raises:
        StudentError: It can't be trained on what was given, or not be saved in `output_dir`, which holds other files.
        TaskError: A row does not fit the task.
        MissingExtraError: What this kind of student is trained with is not installed.

    Example:
        >>> student = train_student("task.yaml", dataset, output_dir="student")  # doctest: +SKIP
        >>> student.predict(["I was charged twice in May."])  # doctest: +SKIP
        ['billing']
    """
    task = Task.load(task)
    if output_dir is not None:
        check_destination(output_dir)
    every = True if kind is not None and kind_for(task, kind).each_rationale else None
    given = training_rows(task, dataset, include_examples=include_examples, rationales=every)
    held_out = task.evaluation_rows()
    rows, leaks = without_leaks(task, given, held_out)
    if include_phrases:
        rows += phrases_for(task, kind_for(task, kind, passages=have_passages(given)))
    student = train_on_rows(
        task, rows, kind=kind, base_model=base_model, seed=seed, max_pairs=max_pairs, index=index, options=options
    )
    if held_out:
        student.facts = {**student.facts, "leaks": leaks}
    if output_dir is not None:
        student.save(output_dir)
    return student


def phrases_for(task: Task, kind: StudentKind) -> list[TrainingRow]:
    """Return the phrases of a task's labels as rows, for a kind that learns by them: a classifier."""
    return phrase_rows(task) if kind.does == ("classification",) else []


def have_passages(rows: Sequence[TrainingRow]) -> bool:
    """Return whether passages were looked for, for some row: then they are for a student that reads them."""
    return any(row.passages is not None for row in rows)


def train_on_rows(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    kind: str | None = None,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    index: Any = None,
    options: Any = None,
) -> Student:
    """Train the kind of student that fits the task and the rows, or that `kind` names, on rows that are ready.

    Args:
        options: The kind's own: a mapping, or the dataclass that holds them.
    """
    check_number("max_pairs", max_pairs, 1, whole=True)
    check_number("seed", seed, 0, LAST_SEED, whole=True)
    chosen = kind_for(task, kind, passages=have_passages(rows))
    read = chosen.read_options(options)
    chosen.require(read)
    chosen.check(base_model or chosen.default_model, read)
    if not chosen.each_rationale:
        rows = distinct_rows(task, rows)
    if index is not None and not chosen.reads_index:
        raise StudentError(f"Student kind `{chosen.name}` reads no index. Leave `index` out, or take kind `grounded`.")
    where = {"index": index} if chosen.reads_index else {}
    return chosen.train(task, rows, base_model=base_model, seed=seed, max_pairs=max_pairs, options=read, **where)


def check_base_model(
    task: Task,
    base_model: str | None,
    kind: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    passages: bool = False,
    rationales: bool = True,
) -> None:
    """Raise when the student of a task could not be trained here: before anything is paid for its data.

    Args:
        passages: Its rows will have passages.
        rationales: Some of its rows will have a rationale.

    Raises:
        MissingExtraError: What this kind of student is trained with is not installed.
        StudentError: The kind does not fit the task, an option is wrong, or the base model is of another kind, or
            neither a folder, nor in the local cache, nor to be had from the Hub.
    """
    chosen = kind_for(task, kind, passages=passages)
    read = chosen.read_options(options)
    chosen.require(read)
    if not rationales and chosen.learns_rationales(read):
        raise StudentError(
            f"Student kind `{chosen.name}`, as its options are, learns rationales, and the rows will have none. Give "
            f"the examples of task `{task.name}` rationales, take a method that gives some, or leave that option out."
        )
    chosen.check(base_model or chosen.default_model, read)


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
    if saved.kind not in KINDS:
        raise StudentError(
            f"Student {path_or_repo_id} is of kind `{saved.kind}`; this version knows {', '.join(KINDS)}. "
            "Upgrade rebase-hf."
        )
    if KINDS[saved.kind].reads_index:
        return KINDS[saved.kind].load(saved, index=index)
    if index is not None:
        raise StudentError(f"Student {path_or_repo_id} is of kind `{saved.kind}`, which reads no index. Leave it out.")
    return KINDS[saved.kind].load(saved)
