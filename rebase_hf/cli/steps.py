"""The steps that commands are made of: plan, generate, train, write pages, show."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from rebase_hf.cli.runs import Shortfall
from rebase_hf.errors import JournalError, NoExamplesError
from rebase_hf.home import rebase_home
from rebase_hf.pipeline import Run
from rebase_hf.plan import Plan
from rebase_hf.publish.teacher_terms import TeacherLicense
from rebase_hf.run_folder import (
    prepare_run_folder,
    whole_set,
    write_dataset,
    write_report_json,
)
from rebase_hf.run_report import check_identities, run_report

logger = logging.getLogger(__name__)


def generate_dataset(
    plan: Plan, folder: Path, *, num_validation: int, command: str, licensed: TeacherLicense | None = None
) -> dict[str, Any]:
    """Execute a plan into a run folder and return its report.

    Cut short by an error or Ctrl-C while it asks, it writes nothing there: what is decided is kept under the rebase
    home, and the same command goes on from it.
    """
    prepare_run_folder(folder, plan.task)
    run = Run(plan)
    try:
        _execute(run)
        report = _write(
            run, folder, num_validation=num_validation, command=command, licensed=licensed or TeacherLicense()
        )
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
    """Push a run's dataset, and its student where there is one, as `push_run` takes it; print where they are."""
    from rebase_hf.publish.hub import push_run

    for address in push_run(folder, repo_id, **how):
        typer.echo(address)


def show_dataset(folder: Path, report: Mapping[str, Any]) -> None:
    """Print what came out."""
    typer.echo(report["statement"])
    for title, counts in (("left out before asking", report["dropped_before"]), ("dropped", report["dropped"]),
                          ("quarantined", report["quarantined_reasons"]), ("sources", report["sources"])):  # fmt: skip
        if counts:
            typer.echo(f"  {title}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    typer.echo(f"Dataset: {folder}/data, read it with load_dataset({str(folder)!r})")


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
