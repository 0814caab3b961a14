"""The command line: thin, and the one place where errors become a line.

Standard output is for results, standard error for talk. Exit codes: 0 done; 2 the request is wrong; 3 done, but fewer
examples than asked for or more quarantined than allowed; 4 the teacher, Hub or disk gave up (resumable); 130 and 143
interrupted (resumable).
"""

import logging
import os
import signal
import sqlite3
import sys
import types
from functools import cache, partial
from typing import NoReturn

import typer
import yaml

from rebase_hf.cli import finished_runs, index, runs
from rebase_hf.cli.options import EPILOG
from rebase_hf.errors import (
    JournalError,
    NoExamplesError,
    PublishInterrupted,
    RebaseError,
    RowIndexInterrupted,
    TeacherRefused,
    TeacherUnavailable,
)

app = typer.Typer(
    name="rebase-hf",
    help="From a task description and a handful of examples to a trained expert.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(epilog=EPILOG)
def describe() -> None:
    """From a task description and a handful of examples to a trained expert."""


app.add_typer(index.app, name="index")
runs.add_commands(app)
finished_runs.add_commands(app)


# What a damaged file or a defect raises (pyarrow's and JSON's errors are ValueErrors): a line, not a traceback.
UNEXPECTED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, sqlite3.Error, yaml.YAMLError)


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt, no handler of ordinary errors may catch it."""


def exit_code(error: RebaseError) -> int:
    """Return the exit code that an error ends the command with."""
    if isinstance(error, NoExamplesError):
        return 3
    if isinstance(error, TeacherUnavailable | JournalError | PublishInterrupted | RowIndexInterrupted):
        return 4
    if isinstance(error, TeacherRefused):
        return 2
    return error.exit_code if isinstance(error, runs.Shortfall) else 2


def main() -> NoReturn:
    """Run the command line; the entry point of `rebase-hf`."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("rebase_hf").setLevel(logging.INFO)
    _hear_sigterm()
    _tell_nobody()
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
        logging.getLogger("rebase_hf").setLevel(logging.DEBUG)
    try:
        app()
    except RebaseError as error:
        if debug:
            raise
        typer.echo(f"Error: {error}", err=True)
        sys.exit(exit_code(error))
    except OSError as error:
        if debug:
            raise
        typer.echo(f"Error: {error}. Mend this and run the same command again; what was answered is kept.", err=True)
        sys.exit(4)
    except UNEXPECTED as error:
        if debug:
            raise
        said = " ".join(str(error).split()) or "no more is known"
        typer.echo(
            f"Error: unexpected {type(error).__name__}: {said}. A file may be damaged, or this is a defect of "
            "rebase-hf; the same command with --debug shows where.",
            err=True,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Terminated:
        sys.exit(143)
    sys.exit(0)


def _tell_nobody() -> None:
    """Keep huggingface_hub from looking up, at the Hub, as which agent it should introduce itself to servers."""
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True  # of this process, which is ours


def _hear_sigterm() -> None:
    """End the command in good order at SIGTERM, and a process forked from it (a worker of `num_proc`) at once.

    A pool of workers sends SIGTERM once and waits for them. A handler of ours in a worker could raise where what it
    raises is lost; and a forked interpreter forgets what its handlers were told before it was ready. So workers have
    no handler, and the signal is held up until that is so.
    """
    signal.signal(signal.SIGTERM, _terminate)
    _guard_forks()


@cache
def _guard_forks() -> None:
    if not hasattr(os, "register_at_fork"):  # Windows forks nothing
        return
    held = {signal.SIGTERM}
    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, held),
        after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, held),
        after_in_child=_as_if_never_heard,
    )


def _as_if_never_heard() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _terminate(number: int, frame: types.FrameType | None) -> None:
    raise Terminated
