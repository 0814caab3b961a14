"""`rebase-hf run`, `generate`, `train`, `evaluate`, `report`, `trace`, `export`, `push`, `doctor`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from rebase_hf.cli.options import (
    AllowFewer,
    AllowQuarantined,
    ApiKeyEnv,
    AsPublished,
    BaseModel,
    BillTo,
    Checks,
    ConsultStudent,
    Dialect,
    DryRun,
    GiveUpAfter,
    Index,
    MaxConcurrency,
    MaxCost,
    MaxPairs,
    MaxPerSource,
    MaxRequests,
    MaxTokens,
    MaxTokensTotal,
    Method,
    MethodOptions,
    Model,
    NoPickle,
    NumExamples,
    NumValidation,
    Output,
    PauseAfter,
    Price,
    Private,
    Provider,
    RetryFailed,
    RunFolder,
    Seed,
    Seeds,
    StudentIndex,
    StudentKindName,
    StudentOptions,
    TaskFile,
    TeacherLicenseId,
    TeacherTarget,
    Temperature,
    Timeout,
)
from rebase_hf.errors import RebaseError

MAX_PAIRS = 1200


class Shortfall(RebaseError):
    """The run is done and written, and is not what was asked for."""

    exit_code = 3


def add_commands(app: typer.Typer) -> None:
    """Add the commands on runs to the command line."""
    for command in (run, generate, train, evaluate, report, trace, export, push, doctor):
        app.command(epilog="--debug, with any command: log everything, and show an error's traceback.")(command)


def generate(
    task: TaskFile,
    teacher: TeacherTarget,
    index: Index = None,
    output: Output = None,
    method: Method = "rebase",
    option: MethodOptions = None,
    check: Checks = None,
    num_examples: NumExamples = 1000,
    num_validation: NumValidation = 0,
    seed: Seed = 0,
    model: Model = None,
    api_key_env: ApiKeyEnv = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    max_concurrency: MaxConcurrency = None,
    max_requests: MaxRequests = None,
    max_tokens_total: MaxTokensTotal = None,
    max_cost: MaxCost = None,
    price: Price = None,
    timeout: Timeout = 120.0,
    give_up_after: GiveUpAfter = "10m",
    allow_fewer: AllowFewer = False,
    allow_quarantined: AllowQuarantined = 0.05,
    max_per_source: MaxPerSource = None,
    as_published: AsPublished = False,
    dialect: Dialect = None,
    provider: Provider = None,
    bill_to: BillTo = None,
    pause_after: PauseAfter = False,
    consult_student: ConsultStudent = None,
    teacher_license: TeacherLicenseId = None,
    dry_run: DryRun = False,
    retry_failed: RetryFailed = False,
) -> None:
    """Make the dataset of a task: rows are retrieved, transformed by the teacher, and checked.

    Example: rebase-hf generate task.yaml --index ./index --teacher http://127.0.0.1:8080
    """
    from rebase_hf.cli.licensing import licenses_before_paying
    from rebase_hf.cli.planning import begin, plan_of
    from rebase_hf.cli.steps import generate_dataset, raise_shortfall, show_dataset

    plan = plan_of(locals())
    licensed = licenses_before_paying(plan, teacher_license)
    if not begin(plan, dry_run=dry_run, retry=retry_failed):
        return
    folder = output or Path("runs") / plan.task.name
    made = generate_dataset(plan, folder, num_validation=num_validation, command=_command(), licensed=licensed)
    show_dataset(folder, made)
    raise_shortfall(made, allow_fewer=allow_fewer, allow_quarantined=allow_quarantined)


def run(
    task: TaskFile,
    teacher: TeacherTarget,
    index: Index = None,
    output: Output = None,
    method: Method = "rebase",
    option: MethodOptions = None,
    check: Checks = None,
    num_examples: NumExamples = 1000,
    num_validation: NumValidation = 0,
    seed: Seed = 0,
    model: Model = None,
    api_key_env: ApiKeyEnv = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    max_concurrency: MaxConcurrency = None,
    max_requests: MaxRequests = None,
    max_tokens_total: MaxTokensTotal = None,
    max_cost: MaxCost = None,
    price: Price = None,
    timeout: Timeout = 120.0,
    give_up_after: GiveUpAfter = "10m",
    allow_fewer: AllowFewer = False,
    allow_quarantined: AllowQuarantined = 0.05,
    max_per_source: MaxPerSource = None,
    as_published: AsPublished = False,
    dialect: Dialect = None,
    provider: Provider = None,
    bill_to: BillTo = None,
    pause_after: PauseAfter = False,
    consult_student: ConsultStudent = None,
    teacher_license: TeacherLicenseId = None,
    dry_run: DryRun = False,
    retry_failed: RetryFailed = False,
    base_model: BaseModel = None,
    seeds: Seeds = 1,
    max_pairs: MaxPairs = MAX_PAIRS,
    student_kind: StudentKindName = None,
    student_option: StudentOptions = None,
    no_pickle: NoPickle = False,
    push_to: Annotated[str | None, typer.Option(help="Publish dataset and student to this Hub id.")] = None,
    private: Private = None,
) -> None:
    """Everything: dataset, student, evaluation against baselines, cards and report.

    Example: rebase-hf run task.yaml --index ./index --teacher http://127.0.0.1:8080
    """
    from rebase_hf.cli.licensing import licenses_before_paying
    from rebase_hf.cli.planning import begin, named_texts, plan_of
    from rebase_hf.cli.steps import (
        Training,
        generate_dataset,
        publish_run,
        raise_shortfall,
        show_dataset,
        show_student,
        train_and_compare,
        write_pages,
    )

    plan = plan_of(locals())
    folder = output or Path("runs") / plan.task.name
    training = Training(
        base_model,
        student_kind,
        named_texts(student_option, "--student-option", "batch_size=8"),
        seeds,
        max_pairs,
        seed,
        pickle=not no_pickle,
        index=plan.index if plan.how.gives_passages else None,
    )
    from rebase_hf.students.training import check_base_model

    check_base_model(
        plan.task,
        base_model,
        student_kind,
        training.options,
        passages=plan.how.gives_passages,
        rationales=plan.task.reasons or plan.how.gives_rationales,
    )
    if push_to and not dry_run:
        from rebase_hf.publish.hub import prove_write_access

        prove_write_access(push_to)
        prove_write_access(push_to, "model")
    licensed = licenses_before_paying(plan, teacher_license, push_to=push_to)
    if not begin(plan, dry_run=dry_run, retry=retry_failed):
        return
    made = generate_dataset(plan, folder, num_validation=num_validation, command=_command(), licensed=licensed)
    write_pages(folder)
    if made["examples"]:
        made = train_and_compare(folder, training)
        write_pages(folder)
    show_dataset(folder, made)
    show_student(folder, made)
    raise_shortfall(made, allow_fewer=allow_fewer, allow_quarantined=allow_quarantined)
    if push_to:
        publish_run(folder, push_to, private=private)


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
    from rebase_hf.cli.steps import Training, show_student, train_and_compare, write_pages

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
    from rebase_hf.cli.steps import export_dataset

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


def _command() -> str:
    """Return the command as a user would type it again."""
    return shlex.join(["rebase-hf", *sys.argv[1:]])
