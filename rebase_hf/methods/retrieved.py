"""Retrieved rows as they are: mapped onto the task without a teacher, where their fields allow it.

1. Take ReBase's rows, best first, with the same exclusions.
2. Each input is the column that stands for it (`columns.py`); two inputs need two columns.
3. The output is a cell that says it: one of the task's labels, whatever its case; for an extractive task a cell that
   stands word for word in an input, first of all one of a column of answers; else the column that stands for the
   output (`scoring.py`), if no input has it and it holds neither titles nor labels.
4. A row without one is left out, and counted. A row repeats another when each of its inputs does: two questions about
   one text are two examples.

What it gives is what retrieval alone brings, and what a teacher's calls must be worth more than.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from rebase_hf.errors import TaskError
from rebase_hf.index.junk import is_junk
from rebase_hf.index.roles import named_role
from rebase_hf.index.row_index import RowIndex
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
        near_duplicate_rows: Similarity from which a row repeats one taken before, in each of several inputs; None
            leaves out nothing.
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
    taken = taken_rows(
        ground.task,
        ground.rows,
        ground.guard,
        ReBaseOptions(**asdict(ground.options)),
        num_examples=ground.num_examples,
        seed=ground.seed,
        by_inputs=True,
    )
    for row in taken:
        if isinstance(row, Dropped):
            yield row
            continue
        fields = mapped_fields(ground.task, row, _roles(ground.rows, row))
        yield fields if isinstance(fields, Dropped) else Draft((), None, row=row, fields=fields)


def mapped_fields(task: Task, row: RetrievedRow, roles: Mapping[str, str]) -> dict[str, str] | Dropped:
    """Return the task's fields as a row has them, or why it has not.

    Args:
        roles: What each column of its source is for.
    """
    cells = row.source.cells
    inputs = {name: row.fields.get(name, "") for name in task.inputs}
    if len(set(inputs.values())) < len(inputs) or not all(inputs.values()):
        return Dropped("retrieval", "no_input_columns", "two inputs would be one and the same cell", row=row)
    fields = {name: cells[column] for name, column in inputs.items()}
    others = {name: text for name, text in cells.items() if name not in inputs.values() and text.strip()}
    output = _output(task, row, fields, others, roles)
    if output is None:
        return Dropped("retrieval", "no_output_cell", f"no cell says its `{task.output}`", row=row)
    return {**fields, task.output: output}


def _roles(index: RowIndex, row: RetrievedRow) -> dict[str, str]:
    source = index.sources[int(index.sources_of([row.key])[0])]
    return dict(zip(source.columns, source.roles, strict=True))


def _output(
    task: Task, row: RetrievedRow, fields: Mapping[str, str], cells: Mapping[str, str], roles: Mapping[str, str]
) -> str | None:
    best = row.columns.get("output", "")
    order = sorted(cells, key=lambda name: name != best)  # the nearest column first, then as they stand
    if task.labels:
        said = (settle_label(task, cells[name]) for name in order)
        return next((label for label in said if label in task.labels), None)
    if task.extractive:
        order.sort(key=lambda name: roles[name] != "answer")
        spans = (span for name in order for span in _spans(cells[name], roles[name]))
        return next((span for span in spans if any(_stands_in(span, given) for given in fields.values())), None)
    # The name of a template, or a title, is what no example has for an output, unless its output is called so.
    titles = roles.get(best) in ("label", "title") and best != task.output and named_role(task.output) != roles[best]
    return None if titles else cells.get(best)


def _spans(cell: str, role: str) -> list[str]:
    """Return the spans that a cell may name: itself, or the texts of a list, one a line.

    A letter, an id or a yes stands in many a text and answers nothing there; a year in a column of answers does.
    """
    spans = dict.fromkeys([cell, *(line.strip().rstrip(",") for line in cell.splitlines())])
    if role == "answer":
        return [span for span in spans if not is_junk(span) or any(char.isdigit() for char in span)]
    return [] if role == "label" else [span for span in spans if not is_junk(span)]


def _stands_in(span: str, text: str) -> bool:
    """Return whether a text has the span, in whole words, and more than it."""
    return span.strip() != text.strip() and re.search(rf"(?<!\w){re.escape(span)}(?!\w)", text) is not None


def dialogue(ground: Ground, draft: Draft) -> Dialogue:
    """Ask nothing: the row is the example."""
    yield from ()
    text = json.dumps(dict(draft.fields), ensure_ascii=False)
    row = None if draft.row is None else draft.row.source.reference("context")
    key = hashlib.sha256(json.dumps([row, text]).encode()).hexdigest()
    completion = Completion(key, text, "stop", "none")
    return (Answered(draft, completion, Parsed(draft.fields)),)


METHOD = Method(NAME, RetrievedOptions, drafts, dialogue=dialogue, check=check, needs_teacher=False)
