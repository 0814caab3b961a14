"""A run as it is shown where it is published redacted: rows, retrieved cells and task without what is private.

Cards and figures are made from it, so nothing has to be taken out of them afterwards, where a line break is two signs
and a sign of Markdown has another before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.publish.privacy import redact, redact_all
from rebase_hf.task import Task


@dataclass(frozen=True)
class RedactedRun(FinishedRun):
    """A run folder, read, with the kind of what is private in place of it."""

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each row with its split; labels as text."""
        for split, row in super().rows():
            yield split, redact_all(row)

    @cached_property
    def retrieved_cells(self) -> dict[tuple[Any, ...], Mapping[str, str]]:
        """The text of the retrieved rows by their address."""
        kept = FinishedRun(self.path, self.report, self.task).retrieved_cells
        return {where: redact_all(cells) for where, cells in kept.items()}


def redacted_run(folder: FinishedRun) -> RedactedRun:
    """Return a run as it is shown redacted; its folder stays as it is."""
    return RedactedRun(folder.path, folder.report, redacted_task(folder.task))


def redacted_task(task: Task) -> Task:
    """Return a task whose instruction, examples and label phrases hold nothing that is private."""
    examples = tuple({name: redact(text) for name, text in example.items()} for example in task.examples)
    labels = {label: redact(phrase) for label, phrase in task.labels.items()}
    return replace(task, instruction=redact(task.instruction), examples=examples, labels=labels)
