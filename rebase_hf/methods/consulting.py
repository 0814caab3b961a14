"""SuperContext (arXiv 2312.15918): a small trained model's label and confidence go into the teacher's prompt.

The paper puts them beside a text that is to be labelled. Here that is the row which an example is made from (ReBase),
and the question whose explanation is read (KARD). The model is asked about one text at a time, so that a prompt does
not depend on what else is asked about.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rebase_hf.errors import TaskError
from rebase_hf.rows import RetrievedRow
from rebase_hf.task import Task
from rebase_hf.teacher.advice import Advice


class Consultant(Protocol):
    """A model in this process that labels texts and says how sure it is.

    One that has a `task`, as a trained student has, is held to it.
    """

    @property
    def name(self) -> str:
        """What a run knows it by: another name is another run. No path of this machine."""

    def __call__(self, inputs: Sequence[Mapping[str, str]]) -> Sequence[tuple[str, float]]:
        """Return for each input, a dict of the task's input fields, a label of the task and its probability."""


def check_consultant(task: Task, consult: Consultant) -> None:
    """Raise TaskError where a task can't be consulted about, by this model, or a run could not know it again."""
    if not task.labels:
        raise TaskError(
            f"A student is consulted about labels, and task `{task.name}` has none: it is a {task.kind} task. Leave "
            "the student out."
        )
    if not callable(consult) or not isinstance(getattr(consult, "name", None), str):
        raise TaskError(
            f"`consult` is {consult!r:.80}; expected a function of inputs that has a `name`, as "
            "`rebase_hf.students.consulting.consult_student(RUN)` gives it."
        )
    known: Task | None = getattr(consult, "task", None)
    if known is not None and (known.inputs != task.inputs or not set(known.labels) <= set(task.labels)):
        raise TaskError(
            f"The student consulted, `{consult.name}`, reads {', '.join(known.inputs)} and says one of "
            f"{', '.join(known.labels)}; task `{task.name}` has {', '.join(task.inputs)}, and "
            f"{', '.join(task.labels)}. Consult a student of the same task."
        )


def advice_on(task: Task, consult: Consultant | None, inputs: Mapping[str, str]) -> Advice | None:
    """Return what the model consulted says of an input; None where none is.

    Raises:
        TaskError: It gives a label that the task does not have.
    """
    if consult is None:
        return None
    label, confidence = consult([inputs])[0]
    if label not in task.labels:
        raise TaskError(
            f"The model consulted, `{consult.name}`, says `{label}`; task `{task.name}` has {', '.join(task.labels)}."
        )
    return Advice(label, float(confidence))


def advice_on_row(task: Task, consult: Consultant | None, row: RetrievedRow) -> Advice | None:
    """Return what the model consulted says of the cells that stand in for the task's inputs; None where none does."""
    inputs = {name: row.source.cells.get(row.fields.get(name, ""), "") for name in task.inputs}
    return advice_on(task, consult, inputs) if any(inputs.values()) else None
