"""The kit's recorded answers as runs: what one teacher, asked in one way, answered to one task, in the table's order.

Rows that the kit marks as test rows (`in_eval`) stay in: they are what the checks against contamination are for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pyarrow import parquet

from benchmarks.kit_data import kit_folder
from benchmarks.recorded_rows import said_fields
from rebase_hf.task import Task

# The kit's tables whose rows are all of one of its tasks. `date_faithful_cot` is of none: its answers are dates, and
# the kit's task of dates asks for the letter of an option.
TASKS = {
    "gsm8k_faithful_cot": "gsm8k",
    "gsm8k_solutions": "gsm8k",
    "sports_faithful_cot": "bbh_sports_understanding",
    "strategyqa_faithful_cot": "strategyqa",
    "worker_vs_gpt_crowdflower": "crowdflower_emotion",
    "worker_vs_gpt_hate_speech_da": "hate_speech_da",
    "worker_vs_gpt_hypo_l": "hypo_l",
    "worker_vs_gpt_question_intimacy": "question_intimacy",
    "worker_vs_gpt_ten_dim": "ten_dim",
}
# Those whose rows name their task, of which the kit has some.
MIXED = ("anthropic_risk_lm", "bbh_codex")


@dataclass(frozen=True, slots=True)
class Answer:
    """A recorded answer.

    Attributes:
        fields: The task's fields.
        in_eval: Whether the kit marks it as a row of the test set; None where it does not say.
        correct: Whether its output is right; None where nobody knows.
    """

    fields: dict[str, str]
    in_eval: bool | None
    correct: bool | None


@dataclass(frozen=True, slots=True)
class Run:
    """What one teacher answered to one task.

    Attributes:
        name: Table, teacher and condition.
        unread: Rows without a text or an output: no run takes such an answer, so no check sees it.
    """

    task: str
    name: str
    answers: tuple[Answer, ...]
    unread: int


def recorded_runs(task: Task) -> Iterator[Run]:
    """Yield the runs that were recorded for a task of the kit."""
    for table, of in ((table, TASKS.get(table)) for table in (*TASKS, *MIXED)):
        if of not in (None, task.name):
            continue
        answers: dict[str, list[Answer]] = {}
        unread: dict[str, int] = {}
        for row in parquet.read_table(kit_folder() / "recorded" / f"{table}.parquet").to_pylist():
            if of is None and row["task"] != task.name:
                continue
            name = f"{table}, {row['teacher']}, {row['condition']}"
            fields = said_fields(task, table, row)
            unread[name] = unread.get(name, 0) + (fields is None)
            if fields is not None:
                answers.setdefault(name, []).append(Answer(fields, row["in_eval"], row["correct"]))
        for name, held in answers.items():
            yield Run(task.name, name, tuple(held), unread[name])
