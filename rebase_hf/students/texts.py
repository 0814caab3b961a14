"""What students that write read, what they learn to write, and what of it is the answer.

A rationale can be learnt in two ways. As part of the target (KARD, ReBase) the student writes it before each answer.
As a second task (distilling step by step, arXiv 2305.02301) the same student is asked for it under another prefix
while it learns, and never when it answers, which then costs no more than without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rebase_hf.errors import StudentError
from rebase_hf.methods.grounded_text import MARKER
from rebase_hf.quality.checks import settle_label
from rebase_hf.students.kind import check_choice, check_number
from rebase_hf.students.student import TrainingRow
from rebase_hf.task import Task

RATIONALES = ("target", "task", "none")
ANSWER_PREFIX = "answer: "
RATIONALE_PREFIX = "reason: "


@dataclass(frozen=True, slots=True, kw_only=True)
class RationaleOptions:
    """How students that write learn rationales.

    Attributes:
        rationales: `target`: written before each answer; `task`: learnt under a prefix of its own, and not written
            when it answers; `none`: not learnt. None takes `target` in a task that reasons.
        rationale_weight: What the loss of a rationale counts beside an answer's, where it is a task of its own.
    """

    rationales: str | None = None
    rationale_weight: float = 1.0

    def check_rationales(self) -> None:
        """Raise StudentError where they are none that can be learnt by."""
        check_number("rationale_weight", self.rationale_weight, 0, 1e6)
        if self.rationales is not None:
            check_choice("rationales", self.rationales, RATIONALES)

    def wants_rationales(self) -> bool:
        """Whether by these no student can be trained of rows without any."""
        return self.rationales in ("target", "task")


def rationale_mode(task: Task, rows: Sequence[TrainingRow], asked: str | None) -> str:
    """Return how rationales are learnt: as asked, by default as a part of the target in a task that reasons.

    Raises:
        StudentError: They are asked for, and no row has one.
    """
    mode = asked or ("target" if task.reasons else "none")
    if asked in ("target", "task") and not any(row.rationale for row in rows):
        raise StudentError(
            f"`rationales` is `{asked}`, but not one of the {len(rows)} rows of task `{task.name}` has a rationale. "
            "Give the task's examples rationales, or leave the option out."
        )
    return mode


def source_text(task: Task, row: Mapping[str, str], mode: str = "none") -> str:
    """Return what a student reads: the instruction, the labels, and each input by its name."""
    prefix = ANSWER_PREFIX if mode == "task" else ""
    options = [f"Options: {', '.join(task.labels)}"] if task.labels else []
    return "\n".join([prefix + task.instruction, *options, "", *(f"{name}: {row[name]}" for name in task.inputs)])


def target_text(task: Task, row: TrainingRow, mode: str) -> str:
    """Return what a student learns to write: the output, where the rationale is part of it behind the marker."""
    output = row.fields[task.output]
    if mode != "target":
        return output
    return f"{row.rationale}\n{MARKER} {output}" if row.rationale else f"{MARKER} {output}"


def second_task(task: Task, row: TrainingRow) -> tuple[str, str] | None:
    """Return what a student reads and writes when the rationale is a task of its own; None for a row without one."""
    if not row.rationale:
        return None
    return RATIONALE_PREFIX + source_text(task, row.fields), row.rationale


def answer_in(task: Task, text: str, mode: str) -> str:
    """Return the answer in what a student wrote, in the task's spelling where it is a label."""
    answer = parse_answer(text) if mode == "target" else text.strip()
    return settle_label(task, answer) if task.labels else answer


def parse_answer(text: str) -> str:
    """Return what follows the last marker; all of a text that has none."""
    return text.rpartition(MARKER)[2].strip()
