"""A visitor's run: its process started, listened to, and ended in time."""

import json
import logging
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rebase_hf import Task, Teacher
from rebase_hf.errors import RebaseError
from rebase_hf.home import rebase_home
from rebase_space.settings import Settings
from rebase_space.visits import Visit

logger = logging.getLogger(__name__)

WORKER = Path(__file__).with_name("worker.py")
# How often a visitor is told how long it has taken.
TELL_SECONDS = 2.0
# Requests that a teacher which costs something may be sent for an example that is asked for.
REQUESTS_EACH = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: examples of how many, after how many seconds."""

    examples: int
    wanted: int
    seconds: float


def run_for(visit: Visit, task: Task, num_examples: int, index: Path, settings: Settings) -> Iterator[Progress]:
    """Make a dataset in a visitor's folder, and yield how far it is until it is there.

    Whoever stops reading ends the process.

    Raises:
        RebaseError: The run says why it can't be done, was stopped, took too long, or ended without a word.
    """
    began = time.monotonic()
    shutil.rmtree(visit.run, ignore_errors=True)
    visit.stopped = False
    visit.process = process = _start(visit, task, num_examples, index, settings)
    heard = _listen(process)
    made = 0
    try:
        while True:
            yield Progress(made, num_examples, time.monotonic() - began)
            try:
                line = heard.get(timeout=TELL_SECONDS)
            except queue.Empty:
                line = ""
            if time.monotonic() - began > settings.max_seconds:
                raise RebaseError(f"The run was ended after {settings.max_seconds:.0f} s. Ask for fewer examples.")
            if line is None:
                raise RebaseError(_last_words(visit, process))
            event = json.loads(line or "{}")
            if "error" in event:
                raise RebaseError(event["error"])
            if event.get("done"):
                return
            made = event.get("examples", made)
    finally:
        visit.stop()


def answer_sample(settings: Settings, index: Path, task: Task, num_examples: int) -> Path | None:
    """Make the sample's dataset once, so that who presses the button at once need not wait; return where it is kept.

    With a teacher that costs something nothing is asked before a visitor asks.
    """
    if not settings.is_free:
        return None
    visit = Visit(rebase_home() / "space" / "sample")
    logger.info("Making the sample's dataset; a later start finds it done.")
    for _ in run_for(visit, task, min(num_examples, settings.max_examples), index, settings):
        pass
    return visit.home


def _start(visit: Visit, task: Task, num_examples: int, index: Path, settings: Settings) -> "subprocess.Popen[str]":
    environment = os.environ | {"REBASE_HOME": str(visit.home)}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    # Visitors share few cores, and threads that spin on cores which others work on take many times as long.
    environment.setdefault("OMP_NUM_THREADS", "1")
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    request = {
        "task": task.to_dict(),
        "index": str(index),
        "teacher": _teacher(settings.teacher, num_examples),
        "num_examples": num_examples,
        "output": str(visit.run),
        "command": f"rebase-hf generate task.yaml --index {settings.index or 'INDEX'} --teacher "
        f"{settings.teacher.target} --num-examples {num_examples} --output run",
    }
    process = subprocess.Popen(
        [sys.executable, str(WORKER)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended already, and what it says of that is read next
    return process


def _teacher(teacher: Teacher, num_examples: int) -> dict[str, str | int | None]:
    costs = teacher.kind != "few-shot"
    return {
        "target": teacher.target,
        "model": teacher.model,
        "api_key_env": teacher.api_key_env,
        "max_requests": REQUESTS_EACH * num_examples if costs else None,
    }


def _listen(process: "subprocess.Popen[str]") -> "queue.SimpleQueue[str | None]":
    """Return the lines that a process writes as they come, and None after the last."""
    heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    output = process.stdout
    assert output is not None

    def read() -> None:
        with output:
            for line in output:
                heard.put(line)
        heard.put(None)

    threading.Thread(target=read, daemon=True).start()
    return heard


def _last_words(visit: Visit, process: "subprocess.Popen[str]") -> str:
    if visit.stopped:
        return "Stopped. What was answered so far is kept while this page is open."
    return f"The run ended without a word (exit code {process.wait()}); whoever runs this Space finds why in its log."
