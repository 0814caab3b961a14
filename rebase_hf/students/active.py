"""Active synthesis (EvoKD, arXiv 2403.06414): what the student gets wrong decides which rows are asked about next.

1. The student is asked about labelled rows (`development`, or what it is trained on).
2. Of these are chosen: some that it gets wrong, those it is least certain of, and a share of easy ones, without which
   it forgets (the paper's ablation).
3. Rows of the index that are nearest to them, and were not used before, are transformed and checked: a run like any
   other (`pipeline.Run`), whose answers lie in the journal.
4. What repeats a training or development row is dropped; the rest joins the training data.
5. Again, until the budget is used up, or the gain per 100 rows falls below a threshold.

The paper has its LLM write down a student's weaknesses and make texts from that; here rows that are like them are
looked for in the index, so that every new row has a source.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rebase_hf.errors import NoExamplesError, StudentError
from rebase_hf.methods.rebase import NAME as REBASE
from rebase_hf.outcomes import example_record, read_example
from rebase_hf.pipeline import Run
from rebase_hf.plan import Plan, make_plan
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.students.active_choice import choose_queries, without_repeats
from rebase_hf.students.active_round import ActiveSettings, Round, round_of
from rebase_hf.students.leaks import leak_test
from rebase_hf.students.row_figures import RowFigures
from rebase_hf.task import Task
from rebase_hf.teacher.target import Teacher

logger = logging.getLogger(__name__)

PER_ROWS = 100


class ActiveSynthesis:
    """What was asked for so far, and what to ask for next.

    Args:
        options: Of the method, beside `queries` and `exclude_rows`, which are chosen here.

    Attributes:
        rounds: The rounds, as `Round.to_record` gives them.
        curve: The student's scores, each with how many rows had joined, and what it gained per 100 of the last ones.
        examples: The rows that joined, in their order.
        stopped: Why no more are asked for; None while they are.
    """

    def __init__(
        self,
        task: Any,
        index: Any,
        teacher: Teacher | str,
        settings: ActiveSettings,
        *,
        method: str = REBASE,
        options: Mapping[str, Any] | None = None,
        checks: CheckOptions | None = None,
    ) -> None:
        self.task = Task.load(task)
        self.settings = settings
        self._index = index
        self._teacher = Teacher.of(teacher)
        self._method, self._options, self._checks = method, dict(options or {}), checks
        self.begin()

    def begin(self, kept: Mapping[str, Any] | None = None) -> None:
        """Begin anew, or with what `state` gave."""
        kept = kept or {"rounds": [], "curve": [], "examples": [], "used": [], "stopped": None}
        self.rounds: list[dict[str, Any]] = list(kept["rounds"])
        self.curve: list[dict[str, Any]] = list(kept["curve"])
        self.examples = [read_example(record) for record in kept["examples"]]
        self.stopped: str | None = kept["stopped"]
        self._used = list(kept["used"])

    def state(self) -> dict[str, Any]:
        """Return all that was asked for, as JSON."""
        records = [example_record(example, None) for example in self.examples]
        kept = {"rounds": self.rounds, "curve": self.curve, "used": self._used, "stopped": self.stopped}
        return kept | {"examples": records}

    def check(self, development: Sequence[Mapping[str, str]]) -> None:
        """Raise before the training begins what would be raised in the first round.

        Raises:
            StudentError: A row that the student is asked about gives away one of the evaluation set.
            RebaseError: What is wrong with task, index, teacher, method or options.
        """
        plan = self._plan(["a text"], ())
        gives_away = leak_test(self.task, plan.evaluation_rows)
        for number, row in enumerate(development):
            if gives_away(row):
                raise StudentError(
                    f"Row {number} that the student is to be asked about gives away the evaluation set of task "
                    f"`{self.task.name}`: {self.task.input_text(row)!r:.80}. What it gets wrong there must not decide "
                    "what it learns. Leave it out."
                )

    def go_on(self, score: float) -> bool:
        """Return whether a round is to be asked for, now that the student scores this."""
        gain, least = self._gain(score), self.settings.min_gain
        self.curve.append({"rows": len(self.examples), "score": score, "gain_per_100_rows": gain})
        if self.stopped is None and self.rounds and self.rounds[-1]["ran_out"]:
            self.stopped = self.rounds[-1]["ran_out"]
        elif self.stopped is None and len(self.examples) >= self.settings.max_new_rows:
            self.stopped = "max_new_rows"
        elif self.stopped is None and gain is not None and least is not None and gain < least:
            self.stopped = "gain_below_threshold"
        return self.stopped is None

    def ask(
        self,
        figures: RowFigures,
        development: Sequence[Mapping[str, str]],
        training: Sequence[Mapping[str, str]],
        sources: Sequence[str],
    ) -> Round:
        """Ask for the next rows; nothing of this object changes: `accept` takes what comes, in every process.

        Args:
            figures: What the student says of the rows of `development`.
            development: The task's fields of the rows that it was asked about.
            training: The task's inputs of the rows that it is trained on, those that joined included.
            sources: Addresses of the source rows that these were made from.

        Raises:
            TeacherError: The teacher refuses or does not answer; what was answered is in the journal.
        """
        seed = (self.settings.seed, len(self.rounds))
        chosen = choose_queries(figures, self._wanted(), self.settings.easy_share, seed)
        texts = list(dict.fromkeys(self.task.input_text(development[row]) for row in chosen))
        begun = Round(dict(Counter(chosen.values())))
        left = self._left()
        if left is None:
            return replace(begun, ran_out="teacher_budget")
        used = {*self._used, *sources}
        run = Run(self._plan(texts, tuple(sorted(used)), left))
        try:
            found = list(run.examples())
        except NoExamplesError as error:
            logger.warning("No new rows for the student: %s", error)
            found = []
        return round_of(begun, run, found, without_repeats(self.task, found, training, development))

    def accept(self, taken: Round, **about: Any) -> None:
        """Take a round: its rows are part of the training data from now on.

        Args:
            about: What else is to be told of it, such as the step.
        """
        self.rounds.append(about | taken.to_record())
        self.examples += taken.examples
        self._used += taken.used

    def _wanted(self) -> int:
        return max(1, min(self.settings.rows_per_round, self.settings.max_new_rows - len(self.examples)))

    def _gain(self, score: float) -> float | None:
        before = next((one for one in reversed(self.curve) if one["rows"] < len(self.examples)), None)
        if before is None or not self.rounds[-1]["rows"]:
            return None
        return float(PER_ROWS * (score - before["score"]) / (len(self.examples) - before["rows"]))

    def _left(self) -> Teacher | None:
        """Return the teacher with what is left of its limits, which are those of all rounds together."""
        limits = {"max_requests": "requests", "max_tokens_total": "tokens", "max_cost": "cost"}
        left: dict[str, Any] = {}
        for limit, what in limits.items():
            most = getattr(self._teacher, limit)
            if most is not None:
                left[limit] = most - sum(one[what] or 0 for one in self.rounds)
        return None if any(rest <= 0 for rest in left.values()) else replace(self._teacher, **left)

    def _plan(self, queries: Sequence[str], used: tuple[str, ...], teacher: Teacher | None = None) -> Plan:
        plan = make_plan(
            self.task,
            self._index,
            teacher or self._teacher,
            method=self._method,
            num_examples=self._wanted(),
            seed=self.settings.seed,
            options=self._options | {"queries": tuple(queries), "exclude_rows": used},
            checks=self._checks,
        )
        self._index = plan.index or self._index  # opened once, its encoder loaded once
        return plan
