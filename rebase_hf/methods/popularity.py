"""How popular what a question asks about is: a column of numbers beside the task's labelled questions."""

from rebase_hf.errors import TaskError
from rebase_hf.task import Task


def question_popularity(task: Task, column: str) -> dict[str, float]:
    """Return the popularity of each of the task's `train` rows, by the text of its inputs: page views, or any count.

    Raises:
        TaskError: The task names no such rows, or the column does not hold a count in each.
    """
    if task.train is None:
        raise TaskError(f"Option `popularity_column` is `{column}`, and task `{task.name}` names no `train` rows.")
    known: dict[str, float] = {}
    for number, (fields, row) in enumerate(zip(task.train_rows(), task.train_records(), strict=True)):
        if column not in row:
            raise TaskError(
                f"Option `popularity_column` is `{column}`, and train row {number} of task `{task.name}` has "
                f"{', '.join(f'`{name}`' for name in row)}. Name a column that all have."
            )
        known[task.input_text(fields)] = _count(row[column], f"Train row {number} of task `{task.name}`", column)
    return known


def _count(text: str | None, where: str, column: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise TaskError(f"{where} has {text!r:.80} in `{column}`; expected a count, such as page views: 0 or more.")
    return value
