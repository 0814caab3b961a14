"""Retrieved rows as they are: mapped onto the task without a teacher, where their fields allow it.

1. Take ReBase's rows, best first, with the same exclusions.
2. Each input is the column that stands for it (`columns.py`); two inputs need two columns.
3. The output is a cell that says it, of a column that stands for no input. With labels: one of them, whatever its
   case. Of an extractive task: a span of an input, first of all of a column called as the output, or of answers. Else
   the column that stands for the output (`scoring.py`), an answer, or the only other text; no title and no label.
4. A row without one is left out, and counted. So is one whose inputs all repeat an earlier example's: two questions
   about one text are two examples.

What it gives is what retrieval alone brings, and what a teacher's calls must be worth more than.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from rebase_hf.errors import TaskError
from rebase_hf.index.junk import SAYING_NOTHING, is_junk
from rebase_hf.index.roles import named_role
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.method import Ground, Method
from rebase_hf.methods.rebase_options import ReBaseOptions
from rebase_hf.methods.taking import taken_rows
from rebase_hf.quality.checks import settle_label
from rebase_hf.quality.duplicates import NEAR, NearDuplicates, has_in_whole_words
from rebase_hf.questions import Answered, Dialogue
from rebase_hf.rows import Completion, Draft, Dropped, RetrievedRow
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Parsed

NAME = "retrieved"
# Columns that say where an answer stands: `answers.answer_start`.
_PLACE = re.compile(r"(?:^|[._])(?:start|end|offset|index|idx|id)s?$", re.I)


@dataclass(frozen=True, slots=True)
class RetrievedOptions:
    """How rows are taken: as ReBase takes them.

    Attributes:
        junk_columns: Let booleans, numbers, ids and very short values compete for the best column, and labels for the
            input's, and ask with outputs that are such values.
        max_per_source: At most this many rows of one source dataset; None as in ReBase, 0 is no limit.
        near_duplicate_rows: Similarity from which each input of a row repeats that of an earlier one; None leaves out
            nothing.
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
    near = ground.options.near_duplicate_rows
    seen = None if near is None else NearDuplicates(near=near, seed=ground.seed)
    # Whether a row repeats another is seen when it is mapped, and by its inputs alone.
    options = replace(ReBaseOptions(**asdict(ground.options)), near_duplicate_rows=None)
    taken = taken_rows(
        ground.task, ground.rows, ground.guard, options, num_examples=ground.num_examples, seed=ground.seed
    )
    for row in taken:
        if isinstance(row, Dropped):
            yield row
            continue
        fields = mapped_fields(ground.task, row, _roles(ground.rows, row))
        if seen is not None and not isinstance(fields, Dropped):
            fields = _unless_seen(fields, seen, ground.task, row)
        yield fields if isinstance(fields, Dropped) else Draft((), None, row=row, fields=fields)


def _unless_seen(
    fields: dict[str, str], seen: NearDuplicates, task: Task, row: RetrievedRow
) -> dict[str, str] | Dropped:
    found = seen.add(*(fields[name] for name in task.inputs))
    if found is None:
        return fields
    detail = f"repeats the inputs of an earlier row (similarity {found[1]:.2f})"
    return Dropped("retrieval", "near_duplicate_row", detail, row=row)


def mapped_fields(task: Task, row: RetrievedRow, roles: Mapping[str, str]) -> dict[str, str] | Dropped:
    """Return the task's fields as a row has them, or why it has not.

    Args:
        roles: What each column of its source is for.
    """
    cells = row.source.cells
    inputs = {name: row.fields.get(name, "") for name in task.inputs}
    if len(set(inputs.values())) < len(inputs) or not all(inputs.values()):
        return Dropped("retrieval", "no_input_columns", "each input needs a column of its own that says it", row=row)
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
    so_called = {name for name in cells if name == task.output or named_role(task.output) == roles[name]}
    if task.extractive:
        spans = _spans({name: cells[name] for name in order}, roles, so_called)
        return next((span for span in spans if any(_stands_in(span, given) for given in fields.values())), None)
    texts = [name for name in order if name in so_called or roles[name] not in ("label", "title")]
    texts.sort(key=lambda name: (name != best, roles[name] != "answer"))
    sure = len(texts) == 1 or (texts and (texts[0] == best or roles[texts[0]] == "answer"))
    return cells[texts[0]] if sure else None


def _spans(cells: Mapping[str, str], roles: Mapping[str, str], so_called: Collection[str]) -> list[str]:
    """Return the spans that cells may name, the likeliest first: whole cells, and in answers each text of a list.

    A letter, an id or a yes stands in many a text and answers nothing there; in a column of answers, or one called as
    the output, a year does, and a name of two letters.
    """
    found: list[tuple[int, str]] = []
    for name, cell in cells.items():
        if name in so_called or roles[name] == "answer":
            lines = [cell, *(line.strip().rstrip(",") for line in cell.splitlines())]
            for span in dict.fromkeys(lines):
                if not is_junk(span):
                    found.append((0 if name in so_called else 1, span))
                elif len(span) > 1 and span.lower() not in SAYING_NOTHING and not _PLACE.search(name):
                    found.append((2, span))
        elif roles[name] != "label" and not is_junk(cell):
            found.append((3, cell))
    return [span for _, span in sorted(found, key=lambda one: one[0])]


def _stands_in(span: str, text: str) -> bool:
    """Return whether a text has the span, in whole words, and more than it."""
    return span in text and span.strip() != text.strip() and has_in_whole_words(text, span)


def dialogue(ground: Ground, draft: Draft) -> Dialogue:
    """Ask nothing: the row is the example."""
    yield from ()
    text = json.dumps(dict(draft.fields), ensure_ascii=False)
    row = None if draft.row is None else draft.row.source.reference("context")
    key = hashlib.sha256(json.dumps([row, text]).encode()).hexdigest()
    completion = Completion(key, text, "stop", "none")
    return (Answered(draft, completion, Parsed(draft.fields)),)


METHOD = Method(NAME, RetrievedOptions, drafts, dialogue=dialogue, check=check, needs_teacher=False)
