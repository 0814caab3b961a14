"""One run in a process of its own: a request on standard input, events as JSON lines on standard output.

A process can be ended, gives its memory back, and sees nothing but the folder of the visitor that it works for. It
ends when its standard input does: with the app that started it.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebase_hf import Teacher
from rebase_hf.errors import NoExamplesError, RebaseError
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.run_folder import prepare_run_folder, whole_set, write_dataset, write_report_json
from rebase_hf.run_report import check_identities, run_report


def main() -> None:
    """Read the request, run, and tell what comes of it."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        make(request)
    except RebaseError as error:
        _tell(error=" ".join(str(error).split()))


def make(request: Mapping[str, Any]) -> None:
    """Make a dataset into a run folder: `task`, `index`, `teacher`, `num_examples`, `output`, `command`."""
    plan = make_plan(
        request["task"], request["index"], Teacher(**request["teacher"]), num_examples=request["num_examples"]
    )
    folder = Path(request["output"])
    prepare_run_folder(folder, plan.task)
    run = Run(plan)
    _tell(examples=0)
    try:
        for position in run.execute():
            _tell(examples=position + 1)
    except NoExamplesError:
        pass  # the report says so, and why
    run.finish()
    whole = whole_set(run)
    write_dataset(run, folder, whole=whole)
    report = run_report(run, command=request["command"], num_validation=0, whole=whole)
    check_identities(report)
    write_report_json(folder, report)
    _tell(done=True)


def _tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
