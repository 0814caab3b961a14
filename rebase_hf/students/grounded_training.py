"""Training the student that reads: to write each rationale and answer from the question and its passages (KARD).

    loss = - sum over questions, sum over their rationales of log p(rationale, answer | question, passages)

All rationales of a question are learnt from (arXiv 2305.18395, section 3.2). What is read and written is made by
`grounded_text`, here as at inference. Two baselines are options: without the passages (reasoning distillation), and
with the answer alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rebase_hf.embedding_model import DEFAULT_MODEL
from rebase_hf.errors import StudentError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.grounded_text import grounded_input, grounded_target
from rebase_hf.plan import open_index
from rebase_hf.students.base_models import check_auto_model
from rebase_hf.students.candidate_pools import Asked, make_pools
from rebase_hf.students.facts import training_facts
from rebase_hf.students.grounded import GroundedStudent, load_grounded_student
from rebase_hf.students.kind import StudentKind, check_number
from rebase_hf.students.reading import Reading
from rebase_hf.students.reranker_measure import measure_reranker
from rebase_hf.students.reranker_training import RerankerOptions, train_reranker
from rebase_hf.students.seq2seq import AUTO_CLASS, DEFAULT_BASE_MODEL, Seq2SeqOptions, train_on_texts
from rebase_hf.students.student import TrainingRow, distinct_rows
from rebase_hf.students.training_passages import Apart, asked_of, completed_rows
from rebase_hf.task import Task

if TYPE_CHECKING:
    from rebase_hf.students.reranker import Reranker

logger = logging.getLogger(__name__)

# A pool has 8 passages to read, and a student's row one text: so the reranker is shown fewer.
ROWS_A_POOL = 4
RERANKER_CLASS = "AutoModel"
# Questions that a reranker is measured by in place of learning from them.
SPARED_EVERY, MOST_SPARED, LEAST_TO_SPARE = 10, 50, 20


@dataclass(frozen=True, slots=True)
class GroundedOptions:
    """What a grounded student learns.

    Attributes:
        knowledge: It reads passages; without, this is reasoning distillation, KARD's baseline.
        reasoning: It writes a rationale before the answer; without, the answer alone.
        rerank: A reranker chooses its passages; without, BM25 does.
        reranker_model: Encoder that the reranker starts from; None for all-MiniLM-L6-v2.
        reranker: How the reranker is trained; `most_shown` None shows it a quarter of what the student is shown.
        reading: How the student retrieves, samples and votes.
        batch_size: Rows of one step.
        learning_rate: At the first step; it falls to zero at the last.
        max_length: What it reads is cut after so many tokens.
    """

    knowledge: bool = True
    reasoning: bool = True
    rerank: bool = True
    reranker_model: str | None = None
    reranker: RerankerOptions = field(default_factory=RerankerOptions)
    reading: Reading = field(default_factory=Reading)
    batch_size: int = 8
    learning_rate: float = 3e-4
    max_length: int = 512

    def __post_init__(self) -> None:
        for name, kind in (("reranker", RerankerOptions), ("reading", Reading)):
            if not isinstance(getattr(self, name), kind):
                raise StudentError(f"Option `{name}` is {getattr(self, name)!r}; expected a {kind.__name__}.")
        self.reading.check()
        check_number("batch_size", self.batch_size, 1, whole=True)
        check_number("learning_rate", self.learning_rate, 1e-8, 1)
        check_number("max_length", self.max_length, 4, whole=True)


def train_grounded_student(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    options: GroundedOptions,
    index: Any = None,
) -> GroundedStudent:
    """Train a grounded student on exactly `max_pairs` rows, repeated as needed, and its reranker.

    Rows without passages get theirs here (`completed_rows`).

    Raises:
        StudentError: There are no rationales, no index, or nothing in it.
    """
    used = _rows_to_learn(task, rows, reasoning=options.reasoning)
    opened, reranker = None, None
    reading = replace(options.reading, passages=_passages_read(rows, options))
    if reading.passages:
        opened = _index(task, index)
        apart = Apart(task, rows)
        used = completed_rows(task, used, opened, reading, apart)
        if options.rerank:
            reranker = _train_reranker(asked_of(task, rows, apart), opened, options, seed, max_pairs)
    texts = training_texts(task, used, reading, reasoning=options.reasoning)
    how = Seq2SeqOptions(options.batch_size, options.learning_rate, options.max_length)
    labels = list(task.labels)
    model, tokenizer = train_on_texts(
        texts, base_model=base_model, seed=seed, shown=max_pairs, labels=labels, options=how
    )
    facts = training_facts(
        task,
        used,
        base_model=base_model or DEFAULT_BASE_MODEL,
        seed=seed,
        settings={
            "method": _method(options),
            "max_pairs": max_pairs,
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
            "max_length": options.max_length,
            "questions": len(distinct_rows(task, used)),
            "reranker": _without_losses(reranker),
            "reading": asdict(reading),
        },
    )
    return GroundedStudent(task, model, tokenizer, facts, reading=reading, index=opened, reranker=reranker)


def training_texts(
    task: Task, rows: Sequence[TrainingRow], reading: Reading, *, reasoning: bool
) -> list[tuple[str, str]]:
    """Return what a student reads and learns to write for each row: at inference it reads the same."""
    return [
        (
            grounded_input(task, row.fields, (row.passages or ())[: reading.passages or 0]),
            grounded_target((row.rationale or "") if reasoning else "", row.fields[task.output]),
        )
        for row in rows
    ]


def _rows_to_learn(task: Task, rows: Sequence[TrainingRow], *, reasoning: bool) -> list[TrainingRow]:
    if not reasoning:
        return distinct_rows(task, rows)
    used = [row for row in rows if row.rationale]
    if not used:
        raise StudentError(
            f"Task `{task.name}`: none of {len(rows)} rows has a `rationale`, and a grounded student learns to write "
            "one. Make the dataset with method `kard`, or train with `reasoning=False`."
        )
    return used


def _passages_read(rows: Sequence[TrainingRow], options: GroundedOptions) -> int:
    if not options.knowledge:
        return 0
    if options.reading.passages is not None:
        return options.reading.passages
    given = [len(row.passages) for row in rows if row.passages is not None]
    return max(given) if given else 1


def _index(task: Task, index: Any) -> RowIndex:
    if index is None:
        raise StudentError(
            f"Task `{task.name}`: its student reads passages, and there is no index to find them in. Give the one "
            "that the dataset was made with: `index=`, or `--index` on the command line."
        )
    return open_index(index)


def _train_reranker(
    asked: Sequence[Asked], index: RowIndex, options: GroundedOptions, seed: int, rows_shown: int
) -> "Reranker":
    """Train a reranker, and measure it on questions that it did not learn from."""
    how = options.reranker
    if how.most_shown is None:
        how = replace(how, most_shown=max(1, rows_shown // ROWS_A_POOL))
    learnt, held_out = _held_out(asked)
    pools = make_pools(index, learnt, found=how.found)
    reranker = train_reranker(pools, base_model=options.reranker_model, seed=seed, options=how)
    if held_out:
        told = measure_reranker(reranker, index, held_out, found=how.found)
        reranker.facts = {**reranker.facts, "held_out": told}
        if told["reranker"] < told["bm25"]:
            logger.warning(
                "The reranker chooses worse passages than BM25 does for %d questions that it was not trained on (%.1f "
                "against %.1f by their rationales). More rationales or a larger `max_pairs` may help; "
                "`rerank=False` does without it.",
                told["questions"],
                told["reranker"],
                told["bm25"],
            )
    return reranker


def _held_out(asked: Sequence[Asked]) -> tuple[list[Asked], list[Asked]]:
    """Return what a reranker learns from, and the first rationale of every tenth question, to measure it by.

    Of fewer than 20 questions none is spared.
    """
    questions = list(dict.fromkeys(one.question for one in asked))
    spared = set(questions[::SPARED_EVERY][:MOST_SPARED]) if len(questions) >= LEAST_TO_SPARE else set()
    first = {one.question: one for one in reversed(asked) if one.question in spared}
    return [one for one in asked if one.question not in spared], list(first.values())


def _method(options: GroundedOptions) -> str:
    read = "reads passages" if options.knowledge else "reads no passages"
    return f"KARD: {read}, writes {'a rationale before the answer' if options.reasoning else 'the answer alone'}"


def _without_losses(reranker: "Reranker | None") -> dict[str, Any] | None:
    return None if reranker is None else {k: v for k, v in reranker.facts.items() if k != "losses"}


def _check(base_model: str, options: GroundedOptions) -> None:
    check_auto_model(AUTO_CLASS, base_model)
    if options.knowledge and options.rerank:
        check_auto_model(RERANKER_CLASS, options.reranker_model or DEFAULT_MODEL)


KIND = StudentKind(
    name="grounded",
    does=("generation", "classification", "extractive"),
    needs={"accelerate": "trainer"},
    default_model=DEFAULT_BASE_MODEL,
    options=GroundedOptions,
    train=train_grounded_student,
    load=load_grounded_student,
    check=_check,
    learns_rationales=lambda options: options.reasoning,
    reads_index=True,
    each_rationale=True,
)
