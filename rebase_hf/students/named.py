"""The kinds of student by name."""

import difflib

from rebase_hf.errors import StudentError
from rebase_hf.students import causal, classification, encoder, extractive, grounded_training, linear, seq2seq
from rebase_hf.students.kind import StudentKind
from rebase_hf.task import Kind, Task

KINDS: dict[str, StudentKind] = {
    kind.name: kind
    for kind in (
        *(classification.KIND, encoder.KIND, linear.KIND, extractive.KIND),
        *(seq2seq.KIND, causal.KIND, grounded_training.KIND),
    )
}
DEFAULTS: dict[Kind, str] = {"classification": "setfit", "extractive": "extractive", "generation": "seq2seq"}


def kind_for(task: Task, name: str | None = None, *, passages: bool = False) -> StudentKind:
    """Return the kind of student that is named, or that fits the task.

    A classification of several inputs is for the encoder, which compares them; SetFit would read one text.

    Args:
        passages: Its rows come with passages, so that one that reads them fits.

    Raises:
        StudentError: There is none of that name, or it can't do the task.
    """
    if name is None and passages:
        return KINDS["grounded"]
    if name is None:
        compares = task.kind == "classification" and len(task.inputs) > 1
        return KINDS["encoder" if compares else DEFAULTS[task.kind]]
    fitting = [kind.name for kind in KINDS.values() if task.kind in kind.does]
    if name not in KINDS:
        near = difflib.get_close_matches(name, KINDS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"use one of {', '.join(fitting)}."
        raise StudentError(f"Student kind `{name}` is not known; {hint}")
    if name not in fitting:
        raise StudentError(
            f"Student kind `{name}` can't do task `{task.name}`, a {task.kind} task; use one of {', '.join(fitting)}."
        )
    return KINDS[name]
