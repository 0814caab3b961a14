"""What the scripts for `hf jobs uv run` are made of. A job's machine goes when it ends: what was paid must leave it.

That a job can publish, and that it can keep a run privately where it may not, is proved before it begins. Commands run
here, and end the job with their exit code.
"""

import argparse
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rebase_hf.errors import JournalError, PublishError, PublishInterrupted, RebaseError

if TYPE_CHECKING:
    from rebase_hf.publish.prepared import Wishes

# A Hub that is away for some minutes must not cost what was paid for.
PAUSES = (10.0, 60.0, 240.0)


@dataclass(frozen=True, slots=True)
class Job:
    """What a job makes, and where it is kept if it can't be published.

    Attributes:
        folder: The run's folder.
        keep_to: The private repository that it is kept in.
        made: Whether there is something to publish in it.
        publish: The command that publishes the run from `kept/run`, where it is fetched to.
        again: The command that goes on from what was answered.
        began: When, in seconds since 1970: what was answered since is kept.
        earlier: The answers of an earlier job, from which this one goes on.
    """

    folder: Path
    keep_to: str
    made: Callable[[Path], bool]
    publish: str
    again: str
    began: float
    earlier: Path | None = None


def add_push_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rebase-hf push`, and where a run is kept that can't be published."""
    visible = parser.add_mutually_exclusive_group()
    visible.add_argument("--private", dest="private", action="store_true", default=None, help="only you may see it")
    visible.add_argument("--public", dest="private", action="store_false", default=None, help="everybody may see it")
    parser.add_argument("--teacher-license", metavar="ID", help="the licence of the teacher's model, as apache-2.0")
    parser.add_argument("--tag", help="a name for this version")
    parser.add_argument("--redact", action="store_true", help="publish without what looks personal or secret")
    parser.add_argument(
        "--keep-personal", action="store_true", help="publish what looks personal as it is; never keys"
    )
    parser.add_argument(
        "--keep-to",
        metavar="ORG/NAME",
        help="the private dataset repository that keeps the run where it can't be published; default REPO_ID-run",
    )


def push_options(options: argparse.Namespace) -> list[str]:
    """Return the options of `rebase-hf push` that were given, as words of a command."""
    words = [] if options.private is None else ["--private" if options.private else "--public"]
    for name in ("teacher_license", "tag"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name.replace('_', '-')}", value]
    return words + [f"--{name.replace('_', '-')}" for name in ("redact", "keep_personal") if getattr(options, name)]


def wishes_of(options: argparse.Namespace) -> "Wishes":
    """Return how a job's run is to be published.

    Raises:
        PublishError: That can't be.
    """
    from rebase_hf.publish.prepared import Wishes

    names = ("private", "tag", "teacher_license", "redact", "keep_personal")
    return Wishes(**{name: getattr(options, name) for name in names})


def prove(repo_id: str, kind: str, *, private: bool | None, keep_to: str | None = None) -> None:
    """Raise unless the job can publish to a repository, and keep its run in another.

    Raises:
        PublishError: It can't.
    """
    from rebase_hf.publish.hub import prove_place_to_keep, prove_write_access

    prove_write_access(repo_id, kind, private=private)
    if keep_to is None:
        return
    try:
        prove_place_to_keep(keep_to)
    except PublishError as error:
        raise type(error)(
            f"{error} A job keeps in {keep_to} what it made if that can't be published; --keep-to names another place."
        ) from error


@contextmanager
def told() -> Iterator[None]:
    """End the job with one line, and its exit code, where an error of ours is raised."""
    from rebase_hf.cli import exit_code

    try:
        yield
    except RebaseError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(exit_code(error))


def command(*words: str, may_end: Sequence[int] = (0,)) -> int:
    """Run a command of `rebase-hf` here and return its exit code; end the job with one that is not in `may_end`."""
    from rebase_hf.cli import main

    before, sys.argv = sys.argv, ["rebase-hf", *words]
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
        if code not in may_end:
            raise
        return code
    finally:
        sys.argv = before


@contextmanager
def kept_unless_published(job: Job, *, pauses: Sequence[float] = PAUSES) -> Iterator[None]:
    """Keep a job's run where what is done within ends otherwise than well, and let the job end as it would."""
    from rebase_hf.cli import Terminated

    try:
        yield
    except BaseException as end:  # whatever it is, an interruption too: the machine goes, and what was paid with it
        with _undisturbed():
            keep(job, pauses=pauses)
        if isinstance(end, Terminated):
            sys.exit(143)
        raise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second SIGTERM end what is done within: a job's end sends one, and waits."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def earlier_answers(repo_id: str) -> Path:
    """Take what an earlier job kept of its answers into this machine's journal; return the file.

    Raises:
        RebaseError: There is none, or it is damaged.
    """
    from rebase_hf.home import rebase_home
    from rebase_hf.publish.hub import fetch_kept_answers
    from rebase_hf.teacher.journal_copies import copy_answers

    fetched = fetch_kept_answers(repo_id)
    taken = copy_answers(fetched, rebase_home() / "journal.sqlite")
    typer.echo(f"{taken} answers of an earlier job are taken from {repo_id}.", err=True)
    return fetched


def has_examples(folder: Path) -> bool:
    """Whether a run folder holds a finished dataset of at least one example."""
    from rebase_hf.run_folder import read_report

    return (folder / "report.json").is_file() and bool(read_report(folder).get("examples"))


def has_student(folder: Path) -> bool:
    """Whether a run folder holds a trained student."""
    return (folder / "student" / "student.json").is_file()


def keep(job: Job, *, published: bool = False, pauses: Sequence[float] = PAUSES) -> None:
    """Keep a job's run and answers, if there are any, and say how to go on; an error is told: another ends the job.

    Args:
        published: What it made is published: one goes on from its answers alone.
        pauses: Seconds to wait before each further try, where the Hub or the network gives up.
    """
    from rebase_hf.publish.hub import keep_run

    finished = not published and job.made(job.folder)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            answers = _answers(job, Path(scratch) / "journal.sqlite")
            if not (finished or answers):
                return
            fetch = f"hf download {shlex.quote(job.keep_to)} --repo-type dataset --local-dir kept"
            go_on = f"{fetch}\n{job.publish}" if finished else job.again
            for pause in (*pauses, None):
                try:
                    address = keep_run(job.folder, job.keep_to, journal=answers, go_on=go_on)
                except PublishInterrupted as error:
                    if pause is None:
                        raise
                    typer.echo(f"{error} Another try in {pause:g} s.", err=True)
                    time.sleep(pause)
                else:
                    break
        except (RebaseError, OSError, ValueError) as error:  # the client's ValueErrors are of names and files
            typer.echo(f"Error: the run could not be kept: {error}", err=True)
            return
    lines = "\n".join(f"    {line}" for line in go_on.splitlines())
    typer.echo(f"The run is kept, for you alone, in {address}. Go on from it with:\n{lines}", err=True)


def _answers(job: Job, target: Path) -> Path | None:
    """Return what was answered in this job and in the one before it, as one file; None for nothing."""
    from rebase_hf.home import rebase_home
    from rebase_hf.teacher.journal_copies import copy_answers

    held, journal = 0, rebase_home() / "journal.sqlite"
    try:
        held += 0 if job.earlier is None else copy_answers(job.earlier, target)
        held += copy_answers(journal, target, since=job.began) if journal.is_file() else 0
    except JournalError as error:  # the run's folder can be kept all the same
        typer.echo(f"Error: not all answers could be kept: {error}", err=True)
    return target if held else None
