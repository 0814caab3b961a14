"""The steps that commands are made of: plan, generate, train, write pages, show."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from rebase_hf.cli.runs import Shortfall
from rebase_hf.errors import JournalError, NoExamplesError, RebaseError
from rebase_hf.home import rebase_home
from rebase_hf.methods.grounded_text import grounded_input, grounded_target
from rebase_hf.pipeline import Run
from rebase_hf.plan import Plan
from rebase_hf.publish.teacher_terms import TeacherLicense
from rebase_hf.run_folder import (
    prepare_run_folder,
    read_report,
    read_task,
    whole_set,
    write_dataset,
    write_report_json,
)
from rebase_hf.run_report import check_identities, run_report
from rebase_hf.task import Task

logger = logging.getLogger(__name__)

FORMATS = ("prompt-completion", "messages")


def generate_dataset(
    plan: Plan, folder: Path, *, num_validation: int, command: str, licensed: TeacherLicense
) -> dict[str, Any]:
    """Execute a plan into a run folder and return its report.

    Cut short by an error or Ctrl-C while it asks, it writes nothing there: what is decided is kept under the rebase
    home, and the same command goes on from it.
    """
    prepare_run_folder(folder, plan.task)
    run = Run(plan)
    try:
        _execute(run)
        report = _write(run, folder, num_validation=num_validation, command=command, licensed=licensed)
    except BaseException:
        # Whatever ended it, Ctrl-C included: what is in flight is paid for and is awaited, then it goes on its way.
        try:
            run.interrupt()
        finally:  # a second Ctrl-C ends the wait, and is told how far it got as well
            _say_stopped(run, command)
        raise
    check_identities(report)
    return report


def _execute(run: Run) -> None:
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    plan = run.plan
    try:
        with tqdm(  # type: ignore[no-untyped-call]
            total=plan.num_examples, desc=f"{plan.method}: examples", unit="example", name="rebase_hf.generate"
        ) as bar:
            for _ in run.execute():
                bar.update()
    except NoExamplesError as error:
        logger.warning("%s", error)
    run.finish()


def _say_stopped(run: Run, command: str) -> None:
    try:
        far = f" with {run.tally().examples} of {run.plan.num_examples} examples"
    except JournalError as error:  # why it stopped may be why this can't be read: that is told as the error
        logger.debug("%s", error)
        far = ""
    typer.echo(f"Stopped{far}. Go on with: {command}", err=True)


def _write(run: Run, folder: Path, *, num_validation: int, command: str, licensed: TeacherLicense) -> dict[str, Any]:
    whole = whole_set(run)
    write_dataset(run, folder, num_validation=num_validation, whole=whole)
    report = run_report(run, command=command, num_validation=num_validation, whole=whole)
    report["teacher"] |= licensed.to_report()
    write_report_json(folder, report)
    return report


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
    import time

    from datasets import Dataset

    from rebase_hf.students import train_student
    from rebase_hf.students.comparison import compare
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
    settings: dict[str, Any] = {
        "kind": kind.name,
        "base_model": training.base_model,
        "max_pairs": training.max_pairs,
        "index": training.index if kind.reads_index else None,
        **(_when_to_read(report) if kind.name == "grounded" else {}),
        **training.options,
    }
    began = time.monotonic()
    if task.evaluation is None:
        student = train_student(task, dataset, seed=training.seed, **settings)
    else:
        comparison = compare(task, dataset, seeds=range(training.seed, training.seed + training.seeds), **settings)
        student = comparison.student
        source = task.evaluation.dataset or Path(task.evaluation.path or "").name
        report |= comparison.to_report() | {"evaluation": {"rows": comparison.evaluation_rows, "source": source}}
    student.save(folder / "student", pickle=training.pickle)
    report["seconds"] = report["seconds"] | {"train": round(time.monotonic() - began, 2)}
    write_report_json(folder, report)
    return report


def _when_to_read(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a student reads where the run decided for which questions passages are of use."""
    decision = report.get("adaptive") or {}
    if decision.get("use") not in ("above", "below"):
        return {}
    from rebase_hf.students.reading import Reading

    column = (report.get("method_options") or {}).get("popularity_column")
    return {"reading": Reading(threshold=decision["threshold"], popularity_column=column)}


def write_pages(folder: Path, *, against: Sequence[Path] = (), png: bool | None = None) -> list[Path]:
    """Write the cards and the report page of a run folder, as `write_report` takes it."""
    from rebase_hf.publish.cards import render_dataset_card, render_student_card
    from rebase_hf.publish.report import write_report
    from rebase_hf.run_folder import write_atomically

    pages = [folder / "README.md"]
    write_atomically(pages[0], render_dataset_card(folder))
    if (folder / "student").is_dir():
        pages.append(folder / "student" / "README.md")
        write_atomically(pages[1], render_student_card(folder))
    return [*pages, write_report(folder, against=against, png=png)]


def publish_run(folder: Path, repo_id: str, **how: Any) -> None:
    """Push a run's dataset, and its student where there is one, as `push_dataset` takes it; print where they are."""
    from rebase_hf.publish.hub import push_dataset, push_student

    typer.echo(push_dataset(folder, repo_id, **how))
    if (folder / "student").is_dir():
        typer.echo(push_student(folder, repo_id, dataset_id=repo_id, **how))


def show_dataset(folder: Path, report: Mapping[str, Any]) -> None:
    """Print what came out."""
    typer.echo(report["statement"])
    for title, counts in (("left out before asking", report["dropped_before"]), ("dropped", report["dropped"]),
                          ("quarantined", report["quarantined_reasons"]), ("sources", report["sources"])):  # fmt: skip
        if counts:
            typer.echo(f"  {title}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    typer.echo(f"Dataset: {folder}/data, read it with load_dataset({str(folder)!r})")


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


def raise_shortfall(report: Mapping[str, Any], *, allow_fewer: bool, allow_quarantined: float) -> None:
    """Raise when the run is not what was asked for.

    Raises:
        Shortfall: Fewer examples than wanted, or more unusable outputs than allowed.
    """
    passed = report["examples"] + sum(report.get("dropped_from_whole", {}).values())
    if passed < report["asked_for"] and not allow_fewer:
        raise Shortfall(f"{report['statement']} (--allow-fewer takes what there is.)")
    if report["outputs"] and report["quarantined"] / report["outputs"] > allow_quarantined:
        reasons = ", ".join(f"{count} {name}" for name, count in report["quarantined_reasons"].items())
        raise Shortfall(
            f"{report['quarantined']} of {report['outputs']} outputs are quarantined ({reasons}), more than the "
            f"{allow_quarantined:.0%} allowed. See ledger.jsonl; --allow-quarantined sets the share."
        )


def export_dataset(folder: Path, format: str, output: Path | None) -> Path:
    """Write a run's training split as prompts and completions, or as chats."""
    if not read_report(folder).get("examples"):
        raise RebaseError(f"{folder} has no examples to export. See its ledger.jsonl for what became of its rows.")
    if format not in FORMATS:
        raise RebaseError(f"Format `{format}` is not known; use one of {', '.join(FORMATS)}.")
    task = read_task(folder)
    target = output or folder / "export" / f"{format}.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8") as file:
        for example in _examples(folder, "train"):
            prompt = f"{task.instruction}\n\n{task.input_text(example)}"
            answer = example[task.output]
            if example.get("passages") is not None:  # as the student that retrieves is trained
                prompt = grounded_input(task, example, example["passages"])
                answer = grounded_target(example["rationale"], answer)
            elif example.get("rationale"):
                answer = f"{example['rationale']}\nAnswer: {answer}"
            chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
            record = {"messages": chat} if format == "messages" else {"prompt": prompt, "completion": answer}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return target


def examine() -> Iterator[str]:
    """Yield lines on what is installed and where things are kept."""
    yield f"rebase-hf {version('rebase-hf')}, Python {sys.version.split()[0]}, kept in {rebase_home()}"
    needs = {
        "sentence_transformers": ("encoders", "build and search an index"),
        "setfit": ("setfit", "the few-shot teacher and SetFit students"),
        "accelerate": ("trainer", "train encoder, extractive, sequence-to-sequence and causal students"),
        "peft": ("lora", "train causal students by LoRA"),
        "fastapi": ("local", "--teacher local:MODEL"),
        "PIL": ("figures", "write a report's figures as PNG"),
    }
    for module, (extra, what) in needs.items():
        if find_spec(module) is None:
            yield f'missing    {module}: needed to {what}. Install it with: pip install "rebase-hf[{extra}]"'
            continue
        try:
            yield f"installed  {module} {version(module.replace('_', '-'))}: {what}"
        except PackageNotFoundError:
            yield f"installed  {module}: {what}"


def _examples(folder: Path, split: str) -> list[dict[str, Any]]:
    from datasets import ClassLabel, Dataset

    rows = Dataset.from_parquet(str(folder / "data" / f"{split}.parquet"))
    names = {name: feature.names for name, feature in rows.features.items() if isinstance(feature, ClassLabel)}
    return [{k: names[k][v] if k in names else v for k, v in row.items()} for row in rows]
