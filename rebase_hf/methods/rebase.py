"""ReBase (arXiv 2407.05463): retrieve single rows from many datasets, and transform each into an example of the task.

1. Embed the task: its instruction, its examples' inputs, its examples' outputs.
2. Rank every row of the index by S, the mean of three cosines (`scoring.py`).
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
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from rebase_hf.errors import TaskError
from rebase_hf.index.encoders import encode_texts
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.columns import FieldColumns
from rebase_hf.methods.consulting import advice_on_row
from rebase_hf.methods.excluded import closest_cells, held_vectors, overlap, own_family
from rebase_hf.methods.method import Ground, Method
from rebase_hf.methods.scoring import PARTS, Ranking, embed_task, rank_rows, rank_rows_near
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.duplicates import NEAR, NearDuplicates
from rebase_hf.questions import Answered, Dialogue, ask_until_read, one_example
from rebase_hf.rows import Draft, Dropped, Message, RetrievedRow, Role, Sampling, SourceRow, source_address
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import (
    ROW_CHARS,
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
CHUNK = 256
# Rows of a dataset that the few in its plan's question are chosen from: some may give evaluation rows away.
PLAN_CANDIDATES = 32


@dataclass(frozen=True, slots=True)
class ReBaseOptions:
    """How rows are taken; the defaults mend what the official code gets wrong.

    Attributes:
        junk_columns: Let booleans, numbers, ids and very short values compete for the best column.
        max_per_source: At most this many rows of one source dataset, all its configurations and splits together, are
            asked about; None is a fifth of the examples asked for (twice an even share, where the index has few
            datasets), and lifted when all else is used up; 0 is no limit.
        near_duplicate_rows: Similarity from which a row repeats one taken before; 1.0 leaves out equal rows only,
            None leaves out nothing.
        exclude_family: Leave out sources whose name says that the task's own data comes from them.
        guard_evaluation: Leave out rows that overlap the evaluation set, by words or by similarity.
        label_phrases: Labels without an example are searched for by their phrase.
        row_chars: Characters of a row that a prompt shows, before it is cut to its best columns.
        field_chars: Characters of each cell that a prompt shows; None cuts only what does not fit `row_chars`.
        plan: Have the teacher say once for each dataset how its rows become examples, and of each row whether it is of
            use at all (DataTune, arXiv 2404.14361).
        max_rows: Look at this many rows at most, those of the task's own family not counted; None is no limit (the
            paper takes the top 3,000).
        queries: Take the rows nearest to these texts, in turns, in place of those with the highest S: what a student
            gets wrong, say.
        exclude_rows: Leave out these rows, each named as `source_address` names it: those that were used before.
    """

    junk_columns: bool = False
    max_per_source: int | None = None
    near_duplicate_rows: float | None = NEAR
    exclude_family: bool = True
    guard_evaluation: bool = True
    label_phrases: bool = True
    row_chars: int = ROW_CHARS
    field_chars: int | None = None
    plan: bool = False
    max_rows: int | None = None
    queries: tuple[str, ...] | None = None
    exclude_rows: tuple[str, ...] = ()

    @classmethod
    def as_published(cls) -> "ReBaseOptions":
        """Return the official code's behaviour, its mistakes included; only its ban by name stays stricter here."""
        return cls(
            junk_columns=True,
            max_per_source=0,
            near_duplicate_rows=None,
            guard_evaluation=False,
            label_phrases=False,
            field_chars=250,
            max_rows=3000,
        )


def check_queries(task: Task, options: ReBaseOptions) -> None:
    """Raise TaskError for texts to search for that are none."""
    if options.queries is not None and not (options.queries and all(text.strip() for text in options.queries)):
        raise TaskError(f"Option `queries` is {options.queries!r:.80}; expected texts to search for, or None.")


def drafts(ground: Ground, prepared: None = None) -> Iterator[Draft | Dropped]:
    """Yield, best row first, what to ask about each row, or why it is not asked about."""
    task, options = ground.task, ground.options
    schema = planned_schema(task) if options.plan else answer_schema(task)
    numbers = {"num_examples": ground.num_examples, "seed": ground.seed}
    for row in taken_rows(task, ground.rows, ground.guard, options, **numbers):
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


def taken_rows(
    task: Task, index: RowIndex, guard: EvaluationGuard, options: ReBaseOptions, *, num_examples: int, seed: int = 0
) -> Iterator[RetrievedRow | Dropped]:
    """Yield the rows to ask about, best first, and in between those that were left out, with the reason.

    A cap per source that the user set leaves rows out. The default one puts them off: once all else is used up they
    come after all, best first, since fewer examples than asked for would be worse than many of one source.
    """
    held = guard if options.guard_evaluation else None
    choice = _Choice(task, index, held, options, num_examples=num_examples, seed=seed)
    looked = 0
    put_off: list[tuple[RetrievedRow, int, float]] = []
    for row, source, similarity in _ranked(task, index, options, held, num_examples=num_examples):
        refusal = choice.refusal(row, source, similarity)
        looked += refusal is None or refusal[0] not in ("own_family", "excluded_row")
        if refusal is not None and refusal[0] == "source_cap" and options.max_per_source is None:
            put_off.append((row, source, similarity))
        else:
            yield row if refusal is None else Dropped("retrieval", *refusal, row=row)
        if looked == options.max_rows:
            break
    choice.lift_cap()
    for row, source, similarity in put_off:
        refusal = choice.refusal(row, source, similarity)
        yield row if refusal is None else Dropped("retrieval", *refusal, row=row)


class _Choice:
    """Decides on row after row whether to ask about it: cheap reasons first, and never by what comes later."""

    def __init__(
        self,
        task: Task,
        index: RowIndex,
        held: EvaluationGuard | None,
        options: ReBaseOptions,
        *,
        num_examples: int,
        seed: int,
    ) -> None:
        near = options.near_duplicate_rows
        self._held = held
        self._seen = None if near is None else NearDuplicates(near=near, seed=seed)
        self._cap = _source_cap(index, options, num_examples)
        self._taken: Counter[str] = Counter()
        self._family = own_family(task, index) if options.exclude_family else frozenset()
        self._excluded = frozenset(options.exclude_rows)

    def lift_cap(self) -> None:
        """Let every source give what it has."""
        self._cap = 0

    def refusal(self, row: RetrievedRow, source: int, similarity: float) -> tuple[str, str] | None:
        """Return why a row is left out, or None and count it as taken.

        Args:
            source: The number of its source.
            similarity: The highest cosine of one of its cells with an evaluation text.
        """
        dataset = row.source.dataset
        if source in self._family:
            return "own_family", f"`{dataset}` may be the task's own data, by its name"
        if self._excluded and (address := source_address(row.source.reference("context"))) in self._excluded:
            return "excluded_row", f"{address} is not to be used"
        if self._cap and self._taken[dataset] >= self._cap:
            return "source_cap", f"`{dataset}` already gave its {self._cap} rows"
        if self._held is not None and (shared := overlap(row, self._held, similarity)) is not None:
            return "in_evaluation_set", shared
        if self._seen is not None and (found := self._seen.add(" ".join(row.source.cells.values()))) is not None:
            return "near_duplicate_row", f"repeats a row taken before (similarity {found[1]:.2f})"
        self._taken[dataset] += 1
        return None


def _ranked(
    task: Task, index: RowIndex, options: ReBaseOptions, guard: EvaluationGuard | None, *, num_examples: int
) -> Iterator[tuple[RetrievedRow, int, float]]:
    """Yield the rows by rank, each with the number of its source and its similarity to the evaluation set."""
    queries = embed_task(task, index, label_phrases=options.label_phrases)
    held = held_vectors(index, guard)
    columns = FieldColumns(task, index, queries, junk=options.junk_columns)
    near = None if options.queries is None else encode_texts(index.encoder, options.queries)
    given: set[int] = set()
    limit = max(1000, 4 * num_examples, options.max_rows or 0)
    while True:
        if near is None:
            ranking = rank_rows(index, queries, limit=limit, junk=options.junk_columns)
        else:
            ranking = rank_rows_near(index, queries, near, limit=limit, junk=options.junk_columns)
        # A wider search may find a row that the graph missed before: none is given twice or passed over for it.
        ranks = [rank for rank, key in enumerate(ranking.keys.tolist()) if key not in given]
        given.update(ranking.keys.tolist())
        for start in range(0, len(ranks), CHUNK):
            yield from _retrieved(index, ranking, ranks[start : start + CHUNK], columns, held)
        if ranking.complete:
            return
        limit *= 4


def _retrieved(
    index: RowIndex, ranking: Ranking, ranks: list[int], columns: FieldColumns, held: NDArray[np.float32] | None
) -> Iterator[tuple[RetrievedRow, int, float]]:
    keys = ranking.keys[ranks]
    closest = closest_cells(index, keys, held)
    sources = index.sources_of(keys).tolist()
    for i, (rank, row) in enumerate(zip(ranks, index.rows(keys), strict=True)):
        source = sources[i]
        retrieved = RetrievedRow(
            source=row,
            score=float(ranking.scores[rank]),
            parts={part: float(score) for part, score in zip(PARTS, ranking.parts[rank], strict=True)},
            columns=_best_columns(index, source, ranking.columns[rank]),
            fields=columns.of(source, row),
            key=int(keys[i]),
        )
        yield retrieved, source, float(closest[i])


def _best_columns(index: RowIndex, source: int, best: NDArray[np.int32]) -> dict[str, str]:
    names = index.sources[source].columns
    return {"input": names[int(best[0])], "output": names[int(best[1])]}


def _source_cap(index: RowIndex, options: ReBaseOptions, num_examples: int) -> int:
    if options.max_per_source is not None:
        return options.max_per_source
    datasets = len({source.dataset for source in index.sources})
    return max(ceil(0.2 * num_examples), ceil(2 * num_examples / max(1, datasets)))


def check(task: Task, options: ReBaseOptions) -> None:
    """Raise TaskError where the options do not fit the task."""
    if options.plan and "usable" in task.fields:
        raise TaskError(
            f"Option `plan` has the teacher say under `usable` whether a row serves, and task `{task.name}` has a "
            "field of that name. Rename the field, or leave `plan` out."
        )
    check_queries(task, options)


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
