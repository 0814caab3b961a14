"""Whether a method fits what it is asked for: the task, its options, the teacher, and who is to be consulted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rebase_hf.errors import TaskError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.consulting import Consultant, check_consultant
from rebase_hf.methods.method import Method
from rebase_hf.task import Task
from rebase_hf.teacher.target import Teacher


def check_method(how: Method, task: Task, options: Any, teacher: Teacher, consult: Consultant | None = None) -> None:
    """Check that a method fits a task, a teacher, and a model that is to be consulted.

    Raises:
        TaskError: It does not.
    """
    how.check(task, options)
    if how.needs_teacher and teacher.kind == "none":
        raise TaskError(
            f"Method `{how.name}` asks a teacher, and the teacher is `none`. Give a URL, a model id or `local:MODEL`; "
            "only method `retrieved` asks nobody."
        )
    if not how.needs_teacher and teacher.kind != "none":
        raise TaskError(
            f"Method `{how.name}` asks no teacher, so `{teacher.target}` would not be asked. Give the teacher `none`."
        )
    if teacher.kind == "few-shot" and not how.labels_rows:
        raise TaskError(
            f"The few-shot teacher only labels retrieved rows, and method `{how.name}` has texts written. Use method "
            "`rebase`, or give an endpoint or `local:MODEL` as the teacher."
        )
    if teacher.kind == "few-shot" and getattr(options, "plan", False):
        raise TaskError("The few-shot teacher reads no prompts, so it makes no `plan`. Leave that option out.")
    if consult is not None:
        _check_consult(how, task, options, teacher, consult)


def check_index(how: Method, options: Any, index: "RowIndex | str | Path | Sequence[str] | None") -> None:
    """Check that no index is given to a method that retrieves nothing from it.

    Raises:
        TaskError: One is.
    """
    if index is None or how.needs_index(options):
        return
    given = index.path if isinstance(index, RowIndex) else index
    raise TaskError(
        f"The index is `{given}`, and method `{how.name}` retrieves nothing as it is asked for here. Leave the index "
        "out, or use a method that retrieves: rebase, synthesizrr, or kard with knowledge=true."
    )


def _check_consult(how: Method, task: Task, options: Any, teacher: Teacher, consult: Consultant) -> None:
    check_consultant(task, consult)
    if teacher.kind == "few-shot":
        raise TaskError("The few-shot teacher reads no prompts, so no student can be consulted for it. Leave it out.")
    if not how.consults(options):
        raise TaskError(
            f"Method `{how.name}` has no text labelled or read by the teacher as it is asked for here, so no student "
            "is consulted. Leave the student out, or use method `rebase`, or `kard` with verify=teacher."
        )
