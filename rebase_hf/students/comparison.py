"""Was it worth it: the student next to what could be had without the dataset."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import StudentError
from rebase_hf.students.metrics import METRIC_FUNCTIONS, score
from rebase_hf.students.student import Student, TrainingRow, evaluation_fields, example_row, training_rows
from rebase_hf.students.training import DEFAULT_MAX_PAIRS, student_kind, train_on_rows
from rebase_hf.task import Task
from rebase_hf.training_run import hub_bar

if TYPE_CHECKING:
    from rebase_hf.students.grounded_training import GroundedOptions


@dataclass(frozen=True, slots=True)
class Comparison:
    """The student and the baselines on the same held-out rows.

    Attributes:
        student: The student of the first seed, to keep: the best one would be chosen by the held-out rows.
        scores: Metrics by contender (`student`, `reasoning_only`, `few_examples`, `examples_and_phrases`,
            `majority`), one dict a seed; the majority has one.
        metric: The task's metric.
        max_pairs: What each student was trained on, the same for both: pairs (SetFit) or rows shown (the others).
        train_rows: How many rows the student was trained on, the task's examples included.
        few_examples: How many examples the other student was trained on.
        evaluation_rows: How many rows they were scored on.
    """

    student: Student = field(compare=False, repr=False)
    scores: Mapping[str, Sequence[Mapping[str, float]]]
    metric: str
    seeds: tuple[int, ...]
    max_pairs: int
    train_rows: int
    few_examples: int
    evaluation_rows: int
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
                "max_pairs": self.max_pairs,
                "per_seed": {
                    name: [run[self.metric] for run in runs]
                    for name, runs in self.scores.items()
                    if name != "majority"
                },
                "train_rows": self.train_rows,
                "few_examples": self.few_examples,
                "evaluation_rows": self.evaluation_rows,
                "base_model": self.base_model,
            },
        }


def compare(
    task: Task,
    dataset: Any,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    max_pairs: int = DEFAULT_MAX_PAIRS,
    base_model: str | None = None,
    evaluation: Iterable[Any] | None = None,
    index: Any = None,
    grounded: "GroundedOptions | None" = None,
) -> Comparison:
    """Train the student and the few-examples student on equal terms, once a seed, and score them with the majority.

    - student: trained on the dataset and the task's examples;
    - few_examples: the same student, base model, seeds and number of pairs, on the task's examples alone;
    - examples_and_phrases: the same once more, on the examples and the labels' phrases, where the task has phrases:
      all that the task file says, which is also what the few-shot teacher is trained on;
    - reasoning_only: of a student that reads passages, the same without them (reasoning distillation); the student of
      the few examples reads none either;
    - majority: always the most frequent output of the student's training data (never of the held-out rows).

    Args:
        dataset: Rows to train on, as `train_student` takes them.
        evaluation: Labelled rows to score on; by default the task's evaluation rows. That none of them is in the
            dataset is for the quality checks to see to.
        index: Where a student of rows with passages finds its own.
        grounded: How such a student is trained, and reads.

    Raises:
        StudentError: There are no rows to score on, no seeds, or a student can't be trained.
    """
    if not seeds:
        raise StudentError("`seeds` is empty; give at least one seed.")
    held_out = evaluation_fields(task, evaluation)
    rows = training_rows(task, dataset)
    contenders = _contenders(task, rows, grounded)
    scores: dict[str, list[Mapping[str, float]]] = {name: [] for name in contenders}
    kept: Student | None = None
    for seed, name in _with_progress([(seed, name) for seed in seeds for name in contenders]):
        one = contenders[name]
        trained = train_on_rows(
            task,
            one.rows,
            base_model=base_model,
            seed=seed,
            max_pairs=max_pairs,
            kind=one.kind,
            index=index,
            grounded=one.grounded,
        )
        scores[name].append(trained.evaluate(held_out))
        kept = kept or trained
    if kept is None:  # the first round trains the student of the first seed
        raise StudentError("No student was trained.")
    return Comparison(
        student=kept,
        scores={**scores, "majority": [_majority_scores(task, rows, held_out)]},
        metric=task.metric,
        seeds=tuple(seeds),
        max_pairs=max_pairs,
        train_rows=len(rows),
        few_examples=len(task.examples),
        evaluation_rows=len(held_out),
        base_model=str(kept.facts["base_model"]),
    )


@dataclass(frozen=True, slots=True)
class _Contender:
    """What one student is trained on, and how."""

    rows: Sequence[TrainingRow]
    kind: str
    grounded: "GroundedOptions | None" = None


def _contenders(task: Task, rows: Sequence[TrainingRow], grounded: "GroundedOptions | None") -> dict[str, _Contender]:
    kind = student_kind(task, rows)
    examples = [example_row(task, example) for example in task.examples]
    if kind == "grounded":
        from rebase_hf.students.grounded_training import GroundedOptions

        options = grounded or GroundedOptions()
        without = replace(options, knowledge=False)
        reads = options.knowledge and any(row.passages for row in rows)
        return {
            "student": _Contender(rows, kind, options),
            **({"reasoning_only": _Contender(rows, kind, without)} if reads else {}),
            "few_examples": _Contender(examples, kind, replace(without, reasoning=task.reasons)),
        }
    contenders = {"student": _Contender(rows, kind), "few_examples": _Contender(examples, kind)}
    if phrases := phrase_rows(task):
        contenders["examples_and_phrases"] = _Contender([*examples, *phrases], kind)
    return contenders


def phrase_rows(task: Task) -> list[TrainingRow]:
    """Return the labels' phrases as rows with these labels; none where there are none, or several inputs."""
    if len(task.inputs) > 1:
        return []
    described = {label: phrase for label, phrase in task.labels.items() if phrase != label}
    return [TrainingRow({task.inputs[0]: phrase, task.output: label}) for label, phrase in described.items()]


def _majority_scores(
    task: Task, rows: Sequence[TrainingRow], held_out: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """Return the metrics of always answering what is most frequent in the training data; of equals, the first."""
    constant = Counter(row.fields[task.output] for row in rows).most_common(1)[0][0]
    return score(task, [constant] * len(held_out), [row[task.output] for row in held_out])


def _metrics(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that are metrics; what else a student tells of its answers is no score."""
    return {name: value for name, value in figures.items() if name.removesuffix("_std") in METRIC_FUNCTIONS}


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
