"""Training the student of a run folder, and showing what it is worth."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rebase_hf.errors import RebaseError
from rebase_hf.run_folder import read_report, write_report_json
from rebase_hf.task import Task

# What a report says of a student alone.
OF_A_STUDENT = frozenset({"student", "baselines", "comparison", "reading", "evaluation", "learning", "base_models"})
if TYPE_CHECKING:
    from rebase_hf.students.kind import StudentKind


@dataclass(frozen=True, slots=True)
class Training:
    """How a command wants the student trained.

    Attributes:
        kind: The kind of student; None takes the task's.
        options: The kind's own.
        pickle: Write SetFit's pickled head too.
        index: Where a student of rows with passages finds its own.
    """

    base_model: str | None
    kind: str | None
    options: Mapping[str, str]
    seeds: int
    max_pairs: int
    seed: int
    pickle: bool
    index: Any = None


def train_and_compare(folder: Path, training: Training) -> dict[str, Any]:
    """Train the student of a run folder, compare it with its baselines, and add both to its report."""
    from datasets import Dataset

    from rebase_hf.students import train_student
    from rebase_hf.students.comparison import compare
    from rebase_hf.students.learning_map import write_map
    from rebase_hf.students.named import kind_for
    from rebase_hf.students.replacing import check_destination

    report = read_report(folder)
    if not report.get("examples"):
        raise RebaseError(f"{folder} has no examples to train on. See its ledger.jsonl for what became of its rows.")
    task = Task.load(folder)
    # An option that the kind does not have must not pass for one of training's own arguments.
    dataset = Dataset.from_parquet(str(folder / "data" / "train.parquet"))
    kind = kind_for(task, training.kind, passages="passages" in dataset.column_names)
    kind.read_options(training.options)
    check_destination(folder / "student")
    settings = _settings(training, kind, report)
    began = time.monotonic()
    # What an earlier student scored, in a run that was trained before or fetched, is not this one's.
    report = without_student = {name: held for name, held in report.items() if name not in OF_A_STUDENT}
    if task.evaluation is None:
        student = train_student(task, dataset, seed=training.seed, **settings)
    else:
        comparison = compare(task, dataset, seeds=range(training.seed, training.seed + training.seeds), **settings)
        student = comparison.student
        source = task.evaluation.dataset or Path(task.evaluation.path or "").name
        report = (
            report | comparison.to_report() | {"evaluation": {"rows": comparison.evaluation_rows, "source": source}}
        )
    report["seconds"] = report["seconds"] | {"train": round(time.monotonic() - began, 2)}
    # Whenever this is cut short, no student stands beside another one's scores, and no scores that took long are lost.
    write_report_json(folder, without_student)
    student.save(folder / "student", pickle=training.pickle)
    write_report_json(folder, report)
    report |= _told_of(student, training, kind.default_model)
    began = time.monotonic()
    report["learning"] = write_map(student, dataset, folder / "student", seed=training.seed)
    report["seconds"] = report["seconds"] | {"map": round(time.monotonic() - began, 2)}
    write_report_json(folder, report)
    return report


def _settings(training: Training, kind: "StudentKind", report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "base_model": training.base_model,
        "max_pairs": training.max_pairs,
        "index": training.index if kind.reads_index else None,
        **(_when_to_read(report) if kind.name == "grounded" else {}),
        **training.options,
    }


def _told_of(student: Any, training: Training, default_model: str) -> dict[str, Any]:
    """Return what the report says of the models that a student was trained from."""
    from rebase_hf.publish.base_model import RERANKER, STUDENT, describe_base_models

    specs = {STUDENT: training.base_model or default_model}
    if student.facts.get("reranker"):
        specs[RERANKER] = training.options.get("reranker_model") or student.facts["reranker"]["base_model"]
    return {"base_models": describe_base_models(specs)}


def _when_to_read(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a student reads where the run decided for which questions passages are of use."""
    decision = report.get("adaptive") or {}
    if decision.get("use") not in ("above", "below"):
        return {}
    from rebase_hf.students.reading import Reading

    column = (report.get("method_options") or {}).get("popularity_column")
    return {"reading": Reading(threshold=decision["threshold"], popularity_column=column)}


def show_student(folder: Path, report: Mapping[str, Any]) -> None:
    """Print the student's scores beside its baselines'."""
    if not report.get("student"):
        return
    metric, comparison = report["comparison"]["metric"], report["comparison"]
    unit = "pairs" if comparison["kind"] == "setfit" else "rows shown"
    shown = f", {comparison['max_pairs']} training {unit} for each student" if comparison["max_pairs"] else ""
    typer.echo(f"\n{metric} on {report['evaluation']['rows']} held-out rows, {len(comparison['seeds'])} seeds{shown}:")
    for name, count in comparison["leaks"].items():
        typer.echo(f"  ({count} rows of `{name}` overlapped these and were left out of training)")
    if (gold := comparison["gold_rows"]) is not None and gold < comparison["train_rows"]:
        typer.echo(f"  (`gold_rows` are {gold}, all that there are; the student had {comparison['train_rows']} rows)")
    rows = {"student on the rebased data": report["student"]}
    rows |= {name.replace("_", " "): scores for name, scores in report["baselines"].items()}
    for name, scores in rows.items():
        spread = f" ± {scores[metric + '_std']:.3f}" if scores.get(metric + "_std") is not None else ""
        typer.echo(f"  {name:<28} {scores[metric]:.3f}{spread}")
    if reading := report.get("reading"):
        typer.echo("Reading: " + ", ".join(f"{name} {value:.2f}" for name, value in reading.items()))
    typer.echo(f"Student: {folder}/student    Report: {folder}/report.html")
