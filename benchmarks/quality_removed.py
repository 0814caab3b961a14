"""What each check takes out of what language models once wrote, task by task. Needs REBASE_KIT.

A run is what one teacher answered to one task, in the recorded order, as `generate` would have decided it: the gate,
then the checks of the whole set. Measured are the default checks, and of those to ask for `contradicted_odds`,
`semantic_duplicates` and `similar_to_evaluation`; beside them, on what the gate lets through, SynthesizRR's share of
cartography and equal shares of labels, and in a gate of its own `label_share`, which are no verdict on a row.

Of the test rows that the kit marks it is counted how many the checks find; and where the right answer is known, how
many labels are wrong among the rows that the map takes for doubtful, and among all that it looked at.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.checked_rows import all_checks
from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import all_tasks, kit_task
from benchmarks.linear_student import RememberingEncoder
from benchmarks.quality_runs import Run, recorded_runs
from rebase_hf.index.encoders import Encoder
from rebase_hf.quality.cartography import CONTRADICTED, HARD, SHARE
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.contamination import NGRAM, SIMILAR, EvaluationGuard, guarded_texts
from rebase_hf.quality.duplicates import normalise, words
from rebase_hf.quality.gate import Gate
from rebase_hf.quality.mapped import map_verdicts
from rebase_hf.quality.repeats import SEMANTIC
from rebase_hf.quality.whole_set import WholeSet, check_whole_set
from rebase_hf.rows import Completion, Draft, Dropped, Example
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Parsed

OF_THE_MAP = (CONTRADICTED, HARD)
_ANSWER = Completion("key", "", "stop", "recorded")


@dataclass(frozen=True, slots=True)
class Removed:
    """A row that a check takes out.

    Attributes:
        check: The check's reason; for the evaluation set and for duplicates with what was found.
        place: The row's, in its run.
        detail: What the library says of it.
    """

    check: str
    place: int
    detail: str


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """What became of a run.

    Attributes:
        removed: By the checks that are measured.
        hard: By the share of cartography, of what the gate let through; in no count of `removed`.
        accepted: The places of the rows that the gate let through.
        kept: The places of the rows that all checks let through.
        shares: Rows that go because their label has enough others, by reason.
    """

    run: Run
    removed: tuple[Removed, ...]
    hard: tuple[Removed, ...]
    accepted: tuple[int, ...]
    kept: tuple[int, ...]
    shares: Counter[str]


class RunChecks:
    """The checks of one task.

    Attributes:
        guard: What keeps its evaluation set apart.
    """

    def __init__(self, task: Task, encoder: Encoder) -> None:
        self.task, self._encoder = task, encoder
        self.guard = EvaluationGuard(task, task.evaluation_rows())
        self._options = replace(all_checks(task), label_share=None) if task.labels else _without_labels()

    def __call__(self, run: Run) -> CheckedRun:
        """Return what becomes of a run."""
        removed, examples = self._gated(run, self._options)
        accepted = tuple(examples)
        fields = [examples[place].fields for place in accepted]
        whole = self._whole(fields, self._options)
        removed += [Removed(one.reason, accepted[place], one.detail) for place, one in whole.dropped.items()]
        shared = replace(self._options, contradicted_odds=None, semantic_duplicates=None, similar_to_evaluation=None)
        hard: list[Removed] = []
        shares: Counter[str] = Counter()
        if self.task.labels:
            by_share = self._whole(fields, replace(shared, cartography=SHARE)).dropped
            hard = [Removed(one.reason, accepted[place], one.detail) for place, one in by_share.items()]
            shares["label_surplus"] = len(self._whole(fields, replace(shared, balance=True)).dropped)
            capped = replace(self._options, label_share=1.5 / len(self.task.labels))
            shares["label_full"] = sum(one.check == "label_full" for one in self._gated(run, capped)[0])
        kept = tuple(accepted[place] for place in whole.places)
        return CheckedRun(run, tuple(sorted(removed, key=lambda one: one.place)), tuple(hard), accepted, kept, shares)

    def _gated(self, run: Run, options: CheckOptions) -> tuple[list[Removed], dict[int, Example]]:
        gate = Gate(
            self.task, self.guard, options, method="rebase", teacher="recorded", num_examples=len(run.answers), seed=0
        )
        removed: list[Removed] = []
        examples: dict[int, Example] = {}
        seen: set[str] = set()
        for place, answer in enumerate(run.answers):
            decided = gate.decide(Draft((), None), _ANSWER, Parsed(answer.fields))
            text = normalise(self.task.input_text(answer.fields))
            if isinstance(decided, Dropped):
                check = self._what(decided.reason, answer.fields, repeated=text in seen)
                removed.append(Removed(check, place, decided.detail or ""))
            else:
                examples[place] = decided
                seen.add(text)
        return removed, examples

    def _whole(self, fields: Sequence[Mapping[str, str]], options: CheckOptions) -> WholeSet:
        verdicts = map_verdicts(self.task, fields, options, self._encoder, seed=0)
        return check_whole_set(
            self.task, fields, options, guard=self.guard, encoder=self._encoder, verdicts=verdicts, seed=0
        )

    def _what(self, reason: str, fields: Mapping[str, str], *, repeated: bool) -> str:
        """Return a reason with what was found, where one reason stands for several things."""
        if reason == "duplicate_output":
            return "duplicate_exact" if repeated else "duplicate_near"
        return self._overlap(fields) if reason == "in_evaluation_set" else reason

    def _overlap(self, fields: Mapping[str, str]) -> str:
        if self.guard.equals(self.task.input_text(fields)):
            return "evaluation_equal"
        for part in dict.fromkeys(guarded_texts(self.task, fields)):
            if (shared := self.guard.overlap(part)) is not None:
                return "evaluation_run" if len(words(shared)) >= NGRAM else "evaluation_inside"
        return "evaluation_near"


def _without_labels() -> CheckOptions:
    return CheckOptions(semantic_duplicates=SEMANTIC, similar_to_evaluation=SIMILAR)


def checked_tasks(
    names: Iterable[str], encoder: RememberingEncoder
) -> Iterator[tuple[Task, EvaluationGuard, list[CheckedRun]]]:
    """Yield the tasks that have recorded runs, with what keeps their test rows apart and what became of each run."""
    for name in names:
        task = kit_task(name)
        runs = list(recorded_runs(task))
        if runs:
            checks = RunChecks(task, encoder)
            checked = [checks(run) for run in runs]
            encoder.keep()
            yield task, checks.guard, checked


def main() -> None:
    """Count, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--tasks", nargs="+", default=None, help="of the kit; all that have recorded answers")
    options = made.parse_args()
    lines = []
    for task, _, runs in checked_tasks(options.tasks or all_tasks(), RememberingEncoder()):
        lines.append(counted(task, runs))
        print(lines[-1], flush=True)
    report("quality_removed", made, options, [*in_all(lines), *lines])


def counted(task: Task, runs: Sequence[CheckedRun]) -> Line:
    """Return what the checks take out of a task's runs."""
    rows = sum(len(one.run.answers) for one in runs)
    removed = Counter(row.check for one in runs for row in one.removed)
    beside = Counter(row.check for one in runs for row in one.hard)
    for one in runs:
        beside.update(one.shares)
    details = {
        "rows": rows,
        "runs": len(runs),
        "unread": sum(one.run.unread for one in runs),
        "kept": sum(len(one.kept) for one in runs),
        "removed": dict(removed.most_common()),
        "beside": dict(+beside),
        "marked": _marked(runs),
        "known": _known(runs),
    }
    told = ", ".join(f"{count} {check}" for check, count in removed.most_common(4))
    return Line(
        f"removed.{task.name}", f"removed, {task.name}", f"{removed.total()} of {rows}: {told}", details=details
    )


def _marked(runs: Sequence[CheckedRun]) -> dict[str, int]:
    """Return how many rows the kit marks as test rows, and how many of them stay; and how many others go as such."""
    marked = [(one, place) for one in runs for place, answer in enumerate(one.run.answers) if answer.in_eval]
    kept = {id(one): set(one.kept) for one in runs}
    others = sum(
        row.check.startswith("evaluation_") and not one.run.answers[row.place].in_eval
        for one in runs
        for row in one.removed
    )
    return {"rows": len(marked), "kept": sum(place in kept[id(one)] for one, place in marked), "others_found": others}


def _known(runs: Sequence[CheckedRun]) -> dict[str, list[int]]:
    """Return how many labels are wrong, and of how many that are known, of what the map looked at and took out."""
    found: dict[str, list[int]] = {}
    for one in runs:
        doubtful = [row for row in (*one.removed, *one.hard) if row.check in OF_THE_MAP]
        places = [("looked at", place) for place in one.accepted] + [(row.check, row.place) for row in doubtful]
        for name, place in places:
            if (right := one.run.answers[place].correct) is not None:
                wrong, of = found.setdefault(name, [0, 0])
                found[name] = [wrong + (not right), of + 1]
    return found if set(OF_THE_MAP) & set(found) else {}


def in_all(lines: Sequence[Line]) -> list[Line]:
    """Return what holds for all tasks."""
    about = [line.details for line in lines]
    rows, removed = sum(one["rows"] for one in about), Counter[str]()
    for one in about:
        removed.update(one["removed"])
    marked, kept = (sum(one["marked"][key] for one in about) for key in ("rows", "kept"))
    return [
        Line(
            "all",
            "rows removed of all recorded ones",
            f"{removed.total()} of {rows}",
            details=dict(removed.most_common()),
        ),
        Line("marked", "test rows by the kit's own mark that stay", f"{kept} of {marked}", "none", kept == 0),
    ]


if __name__ == "__main__":
    main()
