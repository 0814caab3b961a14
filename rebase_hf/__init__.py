"""Turn a task description and a handful of examples into a trained expert.

Importing this package makes `datasets.load_dataset("rebase", task=...)` work, and does nothing else: no torch, no
transformers, no network, no files.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rebase_hf.register import register

if TYPE_CHECKING:
    from rebase_hf.index.row_index import RowIndex
    from rebase_hf.pipeline import generate
    from rebase_hf.publish.hub import push_dataset, push_student
    from rebase_hf.students import load_student, train_student
    from rebase_hf.task import Task
    from rebase_hf.teacher.target import Teacher

__version__ = version("rebase-hf")

__all__ = [
    "RowIndex",
    "Task",
    "Teacher",
    "__version__",
    "generate",
    "load_dataset",
    "load_student",
    "push_dataset",
    "push_student",
    "train_student",
]

_HOMES = {
    "RowIndex": "rebase_hf.index.row_index",
    "Task": "rebase_hf.task",
    "Teacher": "rebase_hf.teacher.target",
    "generate": "rebase_hf.pipeline",
    "load_student": "rebase_hf.students",
    "push_dataset": "rebase_hf.publish.hub",
    "push_student": "rebase_hf.publish.hub",
    "train_student": "rebase_hf.students",
}

register()


def load_dataset(path: str = "rebase", *args: Any, **kwargs: Any) -> Any:
    """Return `datasets.load_dataset(path, ...)`, with rebase_hf's own errors raised as themselves.

    Args:
        path: "rebase"; anything else is passed on as it is.
        *args: As `datasets.load_dataset` takes them.
        **kwargs: As `datasets.load_dataset` takes them: `task`, `index`, `teacher`, `num_examples`, `split`, ...

    Raises:
        RebaseError: What is asked for can't be done, or the teacher gave up; `datasets` alone would wrap it.
    """
    import datasets

    from rebase_hf.errors import RebaseError

    try:
        return datasets.load_dataset(path, *args, **kwargs)
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, RebaseError):
            raise error.__cause__ from None
        raise


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module `rebase_hf` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
