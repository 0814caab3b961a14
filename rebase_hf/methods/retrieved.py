"""Retrieved rows as they are: mapped onto the task without a teacher, where their fields allow it.

1. Take ReBase's rows, best first, with the same exclusions.
2. Each input is the column that stands for it (`columns.py`); two inputs need two columns.
3. The output is a cell that says it: one of the task's labels, whatever its case; for an extractive task a cell that
   stands word for word in an input; else the column that came nearest to the examples' outputs, if no input has it.
4. A row without one is left out, and counted.

What it gives is what retrieval alone brings, and what a teacher's calls must be worth more than.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rebase_hf.errors import TaskError
from rebase_hf.methods.method import Ground, Method
from rebase_hf.methods.rebase_options import ReBaseOptions
from rebase_hf.methods.taking import taken_rows
from rebase_hf.quality.checks import settle_label
from rebase_hf.quality.duplicates import NEAR
from rebase_hf.questions import Answered, Dialogue
from rebase_hf.rows import Completion, Draft, Dropped, RetrievedRow
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Parsed

NAME = "retrieved"


@dataclass(frozen=True, slots=True)
class RetrievedOptions:
    """How rows are taken: as ReBase takes them.

    Attributes:
        junk_columns: Let booleans, numbers, ids and very short values compete for the best column, and labels for the
            input's, and ask with outputs that are such values.
        max_per_source: At most this many rows of one source dataset; None as in ReBase, 0 is no limit.
        near_duplicate_rows: Similarity from which a row repeats one taken before; None leaves out nothing.
        exclude_family: Leave out sources whose name says that the task's own data comes from them.
        label_phrases: Labels without an example are searched for by their phrase.
        max_rows: Look at this many rows at most; None is no limit.
    """

    junk_columns: bool = False
    max_per_source: int | None = None
    near_duplicate_rows: float | None = NEAR
    exclude_family: bool = True
    label_phrases: bool = True
    max_rows: int | None = None


def check(task: Task, options: RetrievedOptions) -> None:
    """Raise TaskError for a task that no row can serve as it is, or for options that are wrong."""
    if task.reasons:
        raise TaskError(
            f"Method `{NAME}` takes rows as they are, and the examples of task `{task.name}` have rationales, which "
            "rows do not. Leave them out, or use a method with a teacher."
        )


def drafts(ground: Ground, prepared: None = None) -> Iterator[Draft | Dropped]:
    """Yield the rows that can serve as examples, best first, and those that can't."""
    numbers = {"num_examples": ground.num_examples, "seed": ground.seed}
    options = ReBaseOptions(**asdict(ground.options))
    for row in taken_rows(ground.task, ground.rows, ground.guard, options, **numbers):
        if isinstance(row, Dropped):
            yield row
            continue
        fields = mapped_fields(ground.task, row)
        yield fields if isinstance(fields, Dropped) else Draft((), None, row=row, fields=fields)


def mapped_fields(task: Task, row: RetrievedRow) -> dict[str, str] | Dropped:
    """Return the task's fields as a row has them, or why it has not."""
    cells = row.source.cells
    inputs = {name: row.fields.get(name, "") for name in task.inputs}
    if len(set(inputs.values())) < len(inputs) or not all(inputs.values()):
        return Dropped("retrieval", "no_input_columns", "two inputs would be one and the same cell", row=row)
    fields = {name: cells[column] for name, column in inputs.items()}
    output = _output(task, row, fields, {name for name in cells if name not in inputs.values()})
    if output is None:
        return Dropped("retrieval", "no_output_cell", f"no cell says its `{task.output}`", row=row)
    return {**fields, task.output: output}


def _output(task: Task, row: RetrievedRow, fields: dict[str, str], others: set[str]) -> str | None:
    cells = {name: text for name, text in row.source.cells.items() if name in others and text.strip()}
    best = row.columns.get("output", "")
    order = sorted(cells, key=lambda name: name != best)  # the nearest column first, then as they stand
    if task.labels:
        said = (settle_label(task, cells[name]) for name in order)
        return next((label for label in said if label in task.labels), None)
    if task.extractive:
        spans = (cells[name] for name in order)
        return next(
            (text for text in spans if any(text in given and text != given for given in fields.values())), None
        )
    return cells.get(best)


def dialogue(ground: Ground, draft: Draft) -> Dialogue:
    """Ask nothing: the row is the example."""
    yield from ()
    text = json.dumps(dict(draft.fields), ensure_ascii=False)
    row = None if draft.row is None else draft.row.source.reference("context")
    key = hashlib.sha256(json.dumps([row, text]).encode()).hexdigest()
    completion = Completion(key, text, "stop", "none")
    return (Answered(draft, completion, Parsed(draft.fields)),)


METHOD = Method(NAME, RetrievedOptions, drafts, dialogue=dialogue, check=check, needs_teacher=False)
