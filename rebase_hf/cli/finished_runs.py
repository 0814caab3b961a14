"""`rebase-hf train`, `evaluate`, `report`, `trace`, `export`, `push`, `doctor`: for a run that is there."""

from pathlib import Path
from typing import Annotated

import typer

from rebase_hf.cli.options import (
    EPILOG,
    MAX_PAIRS,
    BaseModel,
    MaxPairs,
    NoPickle,
    Private,
    RunFolder,
    Seed,
    Seeds,
    StudentIndex,
    StudentKindName,
    StudentOptions,
    TeacherLicenseId,
)
from rebase_hf.errors import RebaseError


def add_commands(app: typer.Typer) -> None:
    """Add the commands on finished runs to the command line."""
    for command in (train, evaluate, report, trace, export, push, doctor):
        app.command(epilog=EPILOG)(command)


def train(
    run: RunFolder,
    base_model: BaseModel = None,
    seeds: Seeds = 1,
    max_pairs: MaxPairs = MAX_PAIRS,
    student_kind: StudentKindName = None,
    student_option: StudentOptions = None,
    no_pickle: NoPickle = False,
    seed: Seed = 0,
    index: StudentIndex = None,
) -> None:
    """Train the student of a run, and compare it with its baselines where the task has an evaluation set."""
    from rebase_hf.cli.planning import named_texts
    from rebase_hf.cli.steps import write_pages
    from rebase_hf.cli.training import Training, show_student, train_and_compare

    options = named_texts(student_option, "--student-option", "batch_size=8")
    made = train_and_compare(
        run, Training(base_model, student_kind, options, seeds, max_pairs, seed, pickle=not no_pickle, index=index)
    )
    write_pages(run)
    show_student(run, made)


def evaluate(run: RunFolder, index: StudentIndex = None) -> None:
    """Score the trained student of a run on the task's evaluation set."""
    from rebase_hf.students import load_student

    if not (run / "student").is_dir():
        raise RebaseError(f"{run} has no student yet. Train one with: rebase-hf train {run}")
    student = load_student(run / "student", index=index)
    from rebase_hf.task import Task

    rows = Task.load(run).evaluation_rows()
    for name, value in student.evaluate(rows).items():
        typer.echo(f"{name}  {value:.4f}")


def report(
    run: RunFolder,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another run, as one of method fewgen, to compare the texts with; may stand several times."),
    ] = None,
    png: Annotated[
        bool | None, typer.Option("--png/--no-png", help="Figures as PNG too. Default: where Pillow is installed.")
    ] = None,
    teacher_license: TeacherLicenseId = None,
) -> None:
    """Write a run's cards and its report page again: report.html, and its figures as SVG and PNG."""
    from rebase_hf.cli.steps import write_pages

    if teacher_license is not None:
        from rebase_hf.cli.licensing import record_teacher_license

        record_teacher_license(run, teacher_license)
    for path in write_pages(run, against=against or (), png=png):
        typer.echo(str(path))


def trace(
    run: RunFolder,
    row: Annotated[
        str,
        typer.Argument(
            help="An example's position (12), an entry of ledger.jsonl (ledger:5, from 0), or a source row "
            "(DATASET[:CONFIG][:SPLIT]#ROW), wherever it ended."
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="As JSON, which has every text as it is, to the byte.")
    ] = False,
) -> None:
    """Tell a row's whole story: source, score, every prompt as it was sent, raw answers, attempts, checks, outcome.

    Control characters in rows and answers are shown escaped, so that they can't drive the terminal.
    """
    from rebase_hf.cli.story_text import story_text
    from rebase_hf.cli.trace import story_json, trace_row

    story = trace_row(run, row)
    typer.echo(story_json(story) if as_json else story_text(story))


def export(
    run: RunFolder,
    format: Annotated[str, typer.Option(help="prompt-completion or messages, as TRL takes them.")] = "messages",
    output: Annotated[Path | None, typer.Option(help="Default: RUN/export/FORMAT.jsonl.")] = None,
) -> None:
    """Write a run's dataset for those who train elsewhere."""
    from rebase_hf.cli.exporting import export_dataset

    typer.echo(str(export_dataset(run, format, output)))


def push(
    run: RunFolder,
    repo_id: Annotated[str, typer.Argument(help="The Hub id to write to.")],
    private: Private = None,
    tag: Annotated[str | None, typer.Option(help="A name for this version.")] = None,
    teacher_license: TeacherLicenseId = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Take out of what is sent what looks personal or secret.")
    ] = False,
    keep_personal: Annotated[
        bool, typer.Option("--keep-personal", help="Send what looks personal as it is; keys are never sent.")
    ] = False,
) -> None:
    """Publish a run's dataset, and its student where there is one.

    What looks personal or secret in rows, cards or report (e-mail addresses, telephone, bank and card numbers, keys)
    stops it, unless --redact or --keep-personal says what to do.
    """
    from rebase_hf.cli.steps import publish_run

    publish_run(
        run,
        repo_id,
        private=private,
        tag=tag,
        teacher_license=teacher_license,
        redact=redact,
        keep_personal=keep_personal,
    )


def doctor() -> None:
    """Say what is installed, what is missing, and where things are kept."""
    from rebase_hf.cli.steps import examine

    for line in examine():
        typer.echo(line)
