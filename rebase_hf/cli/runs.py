"""`rebase-hf run` and `generate`: what asks a teacher."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from rebase_hf.cli.options import (
    EPILOG,
    MAX_PAIRS,
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
    Seed,
    Seeds,
    StudentKindName,
    StudentOptions,
    TaskFile,
    TeacherLicenseId,
    TeacherTarget,
    Temperature,
    Timeout,
)
from rebase_hf.errors import RebaseError


class Shortfall(RebaseError):
    """The run is done and written, and is not what was asked for."""

    exit_code = 3


def add_commands(app: typer.Typer) -> None:
    """Add the commands that make runs to the command line."""
    for command in (run, generate):
        app.command(epilog=EPILOG)(command)


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
        generate_dataset,
        publish_run,
        raise_shortfall,
        show_dataset,
        write_pages,
    )
    from rebase_hf.cli.training import Training, show_student, train_and_compare

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

        for kind in ("dataset", "model"):
            prove_write_access(push_to, kind, private=private)
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


def _command() -> str:
    """Return the command as a user would type it again."""
    return shlex.join(["rebase-hf", *sys.argv[1:]])
