"""Was it worth it: the student next to what could be had without the dataset."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.students.contenders import contenders_of, drawn_gold
from rebase_hf.students.kind import check_number
from rebase_hf.students.metrics import ERRORS, METRIC_FUNCTIONS, score
from rebase_hf.students.named import kind_for
from rebase_hf.students.student import Student, TrainingRow, evaluation_fields, training_rows
from rebase_hf.students.training import DEFAULT_MAX_PAIRS, LAST_SEED, have_passages, train_on_rows
from rebase_hf.task import Task
from rebase_hf.training_run import hub_bar


@dataclass(frozen=True, slots=True)
class Comparison:
    """The student and the baselines on the same held-out rows.

    Attributes:
        student: The student of the first seed, to keep: the best one would be chosen by the held-out rows.
        scores: Metrics by contender (`student`, `reasoning_only`, `few_examples`, `examples_and_phrases`, `gold_rows`,
            `majority`), one dict a seed; the majority has one.
        metric: The task's metric.
        max_pairs: What each student was trained on, the same for both: pairs (SetFit) or rows shown (the others); None
            for a kind that sees every row once.
        train_rows: How many rows the student was trained on, the task's examples and its labels' phrases included.
        few_examples: How many examples the other student was trained on.
        gold_rows: How many of the task's own labelled rows a third one was trained on, these included, if any.
        evaluation_rows: How many rows they were scored on.
        leaks: How many rows of each contender were left out because they give away rows it is scored on.
    """

    student: Student = field(compare=False, repr=False)
    scores: Mapping[str, Sequence[Mapping[str, float]]]
    metric: str
    seeds: tuple[int, ...]
    max_pairs: int | None
    train_rows: int
    few_examples: int
    gold_rows: int | None
    evaluation_rows: int
    leaks: Mapping[str, int]
    base_model: str

    def to_report(self) -> dict[str, Any]:
        """Return `student`, `baselines` and `comparison` for `report.json`; of a student that reads `reading` too.

        Each metric is the mean over seeds; where there are several, `<metric>_std` beside it is the sample standard
        deviation (n - 1).
        """
        figures = {name: _summary(runs) for name, runs in self.scores.items()}
        summaries = {name: _metrics(held) for name, held in figures.items()}
        reading = {name: value for name, value in figures["student"].items() if name not in summaries["student"]}
        return {
            "student": summaries.pop("student"),
            "baselines": summaries,
            **({"reading": reading} if reading else {}),
            "comparison": {
                "metric": self.metric,
                "seeds": list(self.seeds),
                "kind": self.student.kind,
                "max_pairs": self.max_pairs,
                "per_seed": {
                    name: [run[self.metric] for run in runs]
                    for name, runs in self.scores.items()
                    if name != "majority"
                },
                "train_rows": self.train_rows,
                "few_examples": self.few_examples,
                "gold_rows": self.gold_rows,
                "evaluation_rows": self.evaluation_rows,
                "leaks": dict(self.leaks),
                "base_model": self.base_model,
            },
        }


def compare(
    task: Any,
    dataset: Any,
    *,
    kind: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    max_pairs: int = DEFAULT_MAX_PAIRS,
    base_model: str | None = None,
    evaluation: Iterable[Any] | None = None,
    include_phrases: bool = True,
    index: Any = None,
    **options: Any,
) -> Comparison:
    """Train the student and the others on equal terms, once a seed, and score them with the majority.

    - student: trained on the dataset, the task's examples and its labels' phrases, as `train_student` does;
    - few_examples: the same student, base model, seeds and number of pairs, on the task's examples alone;
    - examples_and_phrases: the same once more, on the examples and the labels' phrases, where the task has phrases:
      all that the task file says, which is also what the few-shot teacher is trained on;
    - reasoning_only: of a student that reads passages, the same without them (reasoning distillation); the student of
      the few examples reads none either;
    - gold_rows: the same on examples, phrases and as many of the task's own labelled rows (`train`) as the dataset
      has, drawn anew for each seed, where the task has such rows: what labelling by hand would have given;
    - majority: always the most frequent output of the student's training data (never of the held-out rows).

    Rows that give away held-out rows are left out of what each is trained on, and counted.

    Args:
        task: A Task, or whatever `Task.load` takes.
        dataset: Rows to train on, as `train_student` takes them.
        kind: The kind of student; None takes the one that fits the task and its rows.
        evaluation: Labelled rows to score on; by default the task's evaluation rows.
        include_phrases: As `train_student` takes it, for the student and for that of gold rows.
        index: Where a student of rows with passages finds its own.
        options: The kind's own, as `train_student` takes them.

    Raises:
        StudentError: There are no rows to score on, no seeds, or a student can't be trained.
    """
    task = Task.load(task)
    if not isinstance(seeds, Sequence) or not seeds:
        raise StudentError(f"`seeds` is {seeds!r}; give a list with at least one seed, such as (0, 1, 2).")
    for seed in seeds:
        check_number("seeds", seed, 0, LAST_SEED, whole=True)
    held_out = evaluation_fields(task, evaluation)
    given = training_rows(task, dataset)
    chosen = kind_for(task, kind, passages=have_passages(given))
    contenders, leaks = contenders_of(task, given, held_out, chosen, options, include_phrases=include_phrases)
    scores: dict[str, list[Mapping[str, float]]] = {name: [] for name in contenders}
    kept: Student | None = None
    for seed, name in _with_progress([(seed, name) for seed in seeds for name in contenders]):
        one = contenders[name]
        rows = drawn_gold(one.rows, contenders["student"].rows, seed) if name == "gold_rows" else one.rows
        trained = train_on_rows(
            task,
            rows,
            kind=chosen.name,
            base_model=base_model,
            seed=seed,
            max_pairs=max_pairs,
            index=index,
            options=one.options,
        )
        scores[name].append(trained.evaluate(held_out))
        kept = kept or trained
    if kept is None:  # the first round trains the student of the first seed
        raise StudentError("No student was trained.")
    gold = contenders.get("gold_rows")
    return Comparison(
        student=kept,
        scores={**scores, "majority": [_majority_scores(task, contenders["student"].rows, held_out)]},
        metric=task.metric,
        seeds=tuple(seeds),
        max_pairs=kept.facts.get("max_pairs", max_pairs),
        train_rows=len(contenders["student"].rows),
        few_examples=len(contenders["few_examples"].rows),
        gold_rows=len(drawn_gold(gold.rows, contenders["student"].rows, seeds[0])) if gold else None,
        evaluation_rows=len(held_out),
        leaks={name: count for name, count in leaks.items() if count},
        base_model=str(kept.facts["base_model"]),
    )


def _majority_scores(
    task: Task, rows: Sequence[TrainingRow], held_out: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Return the metrics of always answering what is most frequent in the training data; of equals, the first."""
    constant = Counter(row.fields[task.output] for row in rows).most_common(1)[0][0]
    return score(task, [constant] * len(held_out), [row[task.output] for row in held_out])


def _metrics(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that are metrics; what else a student tells of its answers is no score."""
    known = {*METRIC_FUNCTIONS, *ERRORS}
    return {name: value for name, value in figures.items() if name.removesuffix("_std") in known}


def _summary(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    summary: dict[str, float] = {}
    for metric in runs[0]:
        values = [run[metric] for run in runs]
        summary[metric] = statistics.fmean(values)
        if len(values) > 1:
            summary[f"{metric}_std"] = statistics.stdev(values)
    return summary


def _with_progress(trainings: Sequence[tuple[int, str]]) -> Iterable[tuple[int, str]]:
    with hub_bar(total=len(trainings), desc="students", unit="student") as bar:
        for seed, name in trainings:
            bar.set_postfix_str(f"{name}, seed {seed}")
            yield seed, name
            bar.update(1)
