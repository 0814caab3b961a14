"""ReBase (arXiv 2407.05463): retrieve single rows from many datasets, and transform each into an example of the task.

1. Embed the task: its instruction, its examples' inputs, its examples' outputs.
2. Rank every row of the index by S, a mean of cosines (`scoring.py`).
3. Take rows from the top. What the paper's code lets through and should not is left out here, each by an option:
   the task's own dataset family, rows that overlap the evaluation set, near-duplicate rows, and the flood from one
   source (its own artefacts: 11 sources fill MNLI's 3,000 rows, one corpus among them twice).
4. Render each row into a prompt that asks for one example of the task: one draft a row.

With `plan` (DataTune) the teacher is first asked, once for each dataset, how its rows become examples of the task, and
may then say of a row that it is of no use. The rows that it is shown for that are sources of what is made by the plan.
With a trained student to consult (SuperContext) the prompt says how that labels the row's text, and how sure it is.

The teacher's answer is then parsed and checked (`quality/`). `ReBaseOptions.as_published()` gives the paper's code.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace

from rebase_hf.methods.consulting import advice_on_row
from rebase_hf.methods.excluded import overlap
from rebase_hf.methods.method import Ground, Method
from rebase_hf.methods.rebase_options import ReBaseOptions, check
from rebase_hf.methods.taking import taken_rows
from rebase_hf.questions import Answered, Dialogue, ask_until_read, one_example
from rebase_hf.rows import Draft, Dropped, Message, RetrievedRow, Role, Sampling, SourceRow
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import (
    Parsed,
    answer_keys,
    answer_schema,
    parse_object,
    shown_cells,
    transform_messages,
)
from rebase_hf.teacher.writing_prompts import (
    PLAN_ROWS,
    parse_plan,
    plan_messages,
    plan_schema,
    planned_schema,
    supposed_plan,
)

logger = logging.getLogger(__name__)

NAME = "rebase"
PAPER = "https://arxiv.org/abs/2407.05463"
# claude-3-haiku's settings in the official code (dataset_transformer.py:348-356).
SAMPLING = Sampling(temperature=0.7, max_tokens=1000)
# Rows of a dataset that the few in its plan's question are chosen from: some may give evaluation rows away.
PLAN_CANDIDATES = 32


def drafts(ground: Ground, prepared: None = None) -> Iterator[Draft | Dropped]:
    """Yield, best row first, what to ask about each row, or why it is not asked about."""
    task, options = ground.task, ground.options
    schema = planned_schema(task) if options.plan else answer_schema(task)
    taken = taken_rows(task, ground.rows, ground.guard, options, num_examples=ground.num_examples, seed=ground.seed)
    for row in taken:
        if isinstance(row, Dropped):
            yield row
            continue
        # With a plan the dialogue says what is asked, once it knows the plan.
        messages = () if options.plan else _transform(ground, row)
        yield Draft(messages, schema, row=row, sampling=SAMPLING)


def _transform(ground: Ground, row: RetrievedRow, plan: str | None = None) -> tuple[Message, ...]:
    advice = advice_on_row(ground.task, ground.consult, row)
    return transform_messages(ground.task, row, cells=_shown(row, ground.options), plan=plan, advice=advice)


def dialogue(ground: Ground, draft: Draft) -> Dialogue:
    """Ask for one example; with a plan, for that first: it is the same for all rows of a dataset, and paid once."""
    task, row = ground.task, draft.row
    if not ground.options.plan or row is None:
        return (yield from one_example(task, draft))
    some = _planned_rows(ground, row)
    messages = plan_messages(task, row.source, [_shown(one, ground.options) for one in some])
    asked = Draft(messages, plan_schema(), row=row, sampling=SAMPLING, supposed=supposed_plan(task))
    plan = yield from ask_until_read(asked, parse_plan, ("plan",))
    if isinstance(plan, Dropped):
        return (plan,)
    # What they say went into the plan, and may be in the example by it.
    shots: tuple[tuple[Role, SourceRow], ...] = tuple(("shot", one.source) for one in some if one.key != row.key)
    draft = replace(draft, messages=_transform(ground, row, plan.value), shots=shots)
    return (yield from _planned_example(task, draft))


def _planned_rows(ground: Ground, row: RetrievedRow) -> list[RetrievedRow]:
    """Return the first rows of a row's dataset that overlap no evaluation text, as its plan's question shows them."""
    index = ground.rows
    keys = index.source_keys(int(index.sources_of([row.key])[0]))[:PLAN_CANDIDATES]
    some = [RetrievedRow(one, 0.0, key=int(key)) for key, one in zip(keys, index.rows(keys), strict=True)]
    if ground.options.guard_evaluation:
        some = [one for one in some if overlap(one, ground.guard) is None]
    return some[:PLAN_ROWS]


def _planned_example(task: Task, draft: Draft) -> Dialogue:
    """Ask for an example that may turn out not to be there: rows that can't serve the task are said to be so."""
    keys = ("usable", *answer_keys(task))
    found = yield from ask_until_read(draft, lambda text: parse_object(text, keys), keys)
    if isinstance(found, Dropped):
        return (found,)
    fields = found.value
    if fields.pop("usable").strip().lower() != "yes":
        completion, detail = found.completion, "the teacher says that it can't serve the task"
        return (Dropped("checks", "row_not_usable", detail, draft.row, completion.key, completion.text),)
    rationale = fields.pop("rationale", None)
    return (Answered(found.draft, found.completion, Parsed(fields, rationale)),)


def _shown(row: RetrievedRow, options: ReBaseOptions) -> dict[str, str]:
    return shown_cells(row, row_chars=options.row_chars, field_chars=options.field_chars)


METHOD = Method(
    NAME,
    ReBaseOptions,
    drafts,
    PAPER,
    dialogue=dialogue,
    check=check,
    labels_rows=True,
    consults=lambda options: True,
    questions_each=lambda options: 2 if options.plan else 1,
)
