"""A plan: all that decides which examples a run gives, checked before anything is paid."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

from rebase_hf.deciding_code import code_fingerprint
from rebase_hf.decisions import Decisions
from rebase_hf.errors import TaskError
from rebase_hf.features import task_features
from rebase_hf.home import rebase_home
from rebase_hf.index.row_index import RowIndex
from rebase_hf.labelled_rows import Rows
from rebase_hf.methods.consulting import Consultant
from rebase_hf.methods.fitting import check_index, check_method
from rebase_hf.methods.method import Ground, Method, told_options
from rebase_hf.methods.named import method_named
from rebase_hf.methods.rebase import NAME as REBASE
from rebase_hf.named_options import read_options
from rebase_hf.quality.answerability import check_blind
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.consistency import check_consistent
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.evaluation_sets import evaluation_set, read_evaluation_sets
from rebase_hf.task import Task
from rebase_hf.teacher.asking import TeacherIdentity, identify
from rebase_hf.teacher.target import Teacher

GIVE_UP_AFTER = 600.0
# What a plan has read: another process reads it there.
READ_ANEW = ("evaluation_rows", "further_evaluation_rows", "guard")


@dataclass(frozen=True)
class Plan:
    """All that decides which examples a run gives, and how it may spend.

    Attributes:
        num_examples: How many examples are wanted in all, those for validation included.
        index: None for a method that retrieves nothing.
        options: The method's options.
        consult: A trained model whose labels go into the teacher's prompts; None for none.
        made_at: When it was made. A budget counts from here, in whichever processes the plan is executed.
    """

    task: Task
    index: RowIndex | None
    teacher: Teacher
    identity: TeacherIdentity
    method: str
    num_examples: int
    options: Any
    checks: CheckOptions
    seed: int = 0
    give_up_after: float = GIVE_UP_AFTER
    consult: Consultant | None = None
    token: str | None = field(default=None, repr=False, compare=False)
    made_at: float = field(default_factory=time.time, compare=False)

    @cached_property
    def run_id(self) -> str:
        """A digest of everything that decides the examples; no address, key, concurrency or budget is in it."""
        sets = [evaluation_set(address).fingerprint() for address in self.checks.evaluation_sets]
        content = {
            "task": self.task.fingerprint,
            "index": None if self.index is None else self.index.fingerprint,
            "teacher": [self.identity.model, self.identity.revision],
            "sampling": [self.teacher.temperature, self.teacher.max_tokens],
            "method": self.method,
            "options": told_options(self.options),
            "checks": asdict(self.checks) | {"evaluation_sets": sets},
            "num_examples": self.num_examples,
            "seed": self.seed,
            "code": code_fingerprint(),
        }
        if self.consult is not None:
            content["consult"] = self.consult.name
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def questions(self) -> str:
        """A digest of what decides what is asked; runs that share it may ask the same."""
        task = self.task
        said = [task.instruction, task.inputs, task.output, list(task.labels.items()), task.examples, task.language]
        content = [said, self.method, self.identity.model, self.identity.revision]
        return hashlib.sha256(json.dumps(content, default=dict).encode()).hexdigest()

    @property
    def how(self) -> Method:
        """The method itself."""
        return method_named(self.method)

    def ground(self) -> Ground:
        """Return all that the method works on; what the evaluation set says is read once a process."""
        return Ground(self.task, self.index, self.guard, self.options, self.num_examples, self.seed, self.consult)

    @cached_property
    def guard(self) -> EvaluationGuard:
        """What the evaluation sets say, to be asked whether a text gives any of it away."""
        return EvaluationGuard(self.task, self.evaluation_rows, self.further_evaluation_rows)

    @cached_property
    def evaluation_rows(self) -> list[dict[str, str]]:
        """The rows of the task's evaluation set, read once a process."""
        return self.task.evaluation_rows()

    @cached_property
    def further_evaluation_rows(self) -> list[Rows]:
        """The rows of the evaluation sets that the checks name beside the task's own, read once a process."""
        return read_evaluation_sets(self.checks.evaluation_sets)

    @property
    def session(self) -> str:
        """The call that the plan was made for; limits on requests, tokens and cost are a session's."""
        return repr(self.made_at)

    def __getstate__(self) -> dict[str, Any]:
        # No token goes into a pickle: workers find it where this process did, in their environment.
        return {k: v for k, v in self.__dict__.items() if k not in ("token", *READ_ANEW)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, token=None)


def make_plan(
    task: Task | Mapping[str, Any] | str | Path,
    index: "RowIndex | str | Path | Sequence[str] | None",
    teacher: Teacher | str,
    *,
    method: str = REBASE,
    num_examples: int = 1000,
    seed: int = 0,
    options: Any = None,
    checks: Any = None,
    give_up_after: float = GIVE_UP_AFTER,
    consult: Consultant | None = None,
    token: str | None = None,
) -> Plan:
    """Check everything that can be checked before anything is paid, and return the plan.

    Args:
        consult: A trained model whose labels go into the teacher's prompts: `students.consulting.consult_student`.

    Raises:
        TaskError: The task, its evaluation set, the method or a number is wrong, or an index would not be used.
        RowIndexError: The index can't be opened, or holds no rows.
        TeacherError: The teacher can't be identified, or its key is missing.
    """
    task = Task.load(task)
    how = method_named(method)
    read = how.read_options(options)
    if isinstance(num_examples, bool) or not isinstance(num_examples, int) or num_examples < 1:
        raise TaskError(f"num_examples is {num_examples!r}; expected a whole number from 1 on.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise TaskError(f"seed is {seed!r}; expected a whole number from 0 to {2**32 - 1}.")
    if not 0 < give_up_after < inf:
        raise TaskError(f"give_up_after is {give_up_after!r}; expected a number of seconds above zero.")
    teacher = Teacher.of(teacher)
    check_method(how, task, read, teacher, consult)
    check_index(how, read, index)
    checked: CheckOptions = (
        default_checks(task, teacher) if checks is None else read_options(CheckOptions, checks, "What is checked")
    )
    check_blind(checked.answerable, teacher)
    check_consistent(task, checked.consistent, teacher)
    opened = open_index(index) if how.needs_index(read) else None
    identity = identify(teacher, task, token)
    plan = Plan(
        task=task,
        index=opened,
        teacher=teacher,
        identity=identity,
        method=method,
        num_examples=num_examples,
        options=read,
        checks=checked,
        seed=seed,
        give_up_after=give_up_after,
        consult=consult,
        token=token,
    )
    if not Decisions.finished(plan.run_id):  # a finished run is only read
        check_before_paying(plan)
    return plan


def check_before_paying(plan: Plan) -> None:
    """Read what is needed once the teacher is asked, so that what is wrong with it is said before.

    Raises:
        TaskError: An evaluation set can't be read.
        TeacherRefused: The teacher's key is missing.
    """
    len(plan.evaluation_rows)
    len(plan.further_evaluation_rows)
    if plan.teacher.kind == "provider":
        from rebase_hf.teacher.providers import provider_key

        provider_key(plan.teacher, plan.token)


def dataset_features(plan: Plan) -> Any:
    """Return the columns of the dataset that a plan makes (`datasets.Features`)."""
    return task_features(plan.task, rationales=plan.how.gives_rationales, passages=plan.how.gives_passages)


def default_checks(task: Task, teacher: Teacher) -> CheckOptions:
    """Return the checks that a teacher's answers need; what only labels must be sure, and not of one label alone."""
    if teacher.kind != "few-shot" or not task.labels:
        return CheckOptions()
    return CheckOptions(confident_share=0.5, label_share=1.5 / len(task.labels))


def open_index(index: "RowIndex | str | Path | Sequence[str] | None") -> RowIndex:
    """Return an open index.

    Args:
        index: An index, its folder or Hub id, or a list of sources, from which one is built once and kept.

    Raises:
        TaskError: It is None.
        RowIndexError: It can't be opened or built.
    """
    if index is None:
        raise TaskError(
            "The index is missing: this method retrieves rows. Give a folder, a Hub id, or a list of sources; only "
            "method `fewgen` needs none."
        )
    if isinstance(index, RowIndex):
        return index
    if isinstance(index, str | Path):
        return RowIndex.open(str(index))
    sources = [str(Path(source).resolve()) if Path(source).exists() else str(source) for source in index]
    name = hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:24]
    # A build that finds its sources unchanged keeps the index that is there.
    return RowIndex.build(rebase_home() / "indexes" / name, sources)
