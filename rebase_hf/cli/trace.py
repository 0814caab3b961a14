"""A row's whole story, put together from a run folder and the journal: what it was, what was asked, what came of it.

Nothing is told that is not written down somewhere. What the journal of this machine does not hold is said to be
missing, and what follows from the rest is told all the same.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rebase_hf.cli.row_address import FoundRow, find_row
from rebase_hf.errors import RebaseError
from rebase_hf.home import rebase_home
from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.gate import CheckStep, check_steps
from rebase_hf.quality.mapped import map_reasons
from rebase_hf.quality.whole_set import whole_set_steps
from rebase_hf.rows import Completion
from rebase_hf.teacher.asking import content_key, first_question
from rebase_hf.teacher.journal import Journal

Story = dict[str, Any]

ABOUT_SOURCE = ("dataset", "config", "split", "revision", "row", "license", "url")
ABOUT_SCORE = ("score", "parts", "columns", "fields_from")
ABOUT_REQUEST = ("model", "revision", "messages", "sampling", "schema", "sample", "repair")
READABLE = "readable"
DECIDED, BEFORE, AFTER = "decided", "before", "after"


def trace_row(folder: Path, row: str) -> Story:
    """Return the whole story of a row of a run folder.

    Its keys: `run`, `row` (its address), `source`, `score`, `cells`, `journal` (its path), `requests` in the order in
    which they were made (`part` is `decided`, `before` or `after` what was decided on; `sampling` is what was asked
    for, `sent_as` what the settled answer was sent with), `checks` in the order in which they are applied, and
    `outcome`. Texts are as they were sent, answered and stored, to the
    byte. A None stands for what is not known here.

    Raises:
        RebaseError: There is no such row, or the folder is no finished run, or damaged.
        JournalError: The journal of this machine can't be read.
    """
    found = find_row(folder, row)
    run = FinishedRun.open(folder)
    outcome = _outcome(run, found)
    key = outcome["example"]["provenance"]["prompt_id"] if found.is_example else found.entry.get("key")
    path = rebase_home() / "journal.sqlite"
    trained_here = (run.report.get("teacher") or {}).get("kind") == "few-shot"
    requests = _requests(path, key, found.entry.get("asked") or (), sent=not trained_here)
    last = next((one for one in reversed(requests) if one["part"] == DECIDED), None)
    if last is not None and not found.is_example:
        _compare(last, found.entry)
    sure = trained_here if last is None or last["answer"] is None else last["answer"].get("confidence") is not None
    steps = _steps(run, sure=sure)
    return {
        "run": str(folder),
        "row": found.address,
        "source": _source(run.report, found.entry.get("source")),
        "score": {name: found.entry.get(name) for name in ABOUT_SCORE} if "score" in found.entry else None,
        "cells": found.entry.get("cells"),
        "journal": str(path),
        "requests": requests,
        "checks": _checks(found, steps),
        "outcome": outcome,
    }


def _requests(path: Path, key: str | None, asked: Sequence[str], *, sent: bool) -> list[Story]:
    """Return the requests about a row: the one that decided on it, its first question if it was a repair, and more.

    An example or a ledger entry has the key of the request whose answer it is. A first question that failed, or whose
    answer could be read, has none after it; a repair question says by its content what came before. What was asked
    besides (a plan, who reads a rationale, the same anew and blind) only the entry tells.

    Args:
        asked: All that was asked about it; nothing where that was all, or where an older version made the run.
    """
    if key is None:
        return []
    # Not Journal.open, which writes: a story can be read where the disk is full or the journal belongs to another.
    journal = Journal.peek(path)
    try:
        content = journal.request(key) if journal is not None else None
        requests = [_request(journal, key, content, sent, DECIDED)]
        while content is not None and content["repair"]:
            content = first_question(content)
            content.pop("sent", None)  # of the repair, and no part of a key
            requests.insert(0, _request(journal, content_key(content), content, sent, DECIDED))
        own = {request["key"] for request in requests}
        place = next((number for number, other in enumerate(asked) if other in own), 0)
        for number, other in enumerate(asked):
            if other not in own:
                content = journal.request(other) if journal is not None else None
                told = _request(journal, other, content, sent, BEFORE if number < place else AFTER)
                requests.insert(number if number < place else len(requests), told)
    finally:
        if journal is not None:
            journal.close()
    return requests


def _request(journal: Journal | None, key: str, content: Mapping[str, Any] | None, sent: bool, part: str) -> Story:
    outcome = journal.get(key) if journal is not None else None
    request: Story = {"key": key, "part": part, "in_journal": outcome is not None, "sent": sent}
    request |= {name: content[name] if content is not None else None for name in ABOUT_REQUEST}
    # What is tried again may be sent otherwise than it was asked for; older journals, and what runs here, do not say.
    held = journal.request(key) if journal is not None else None
    request["sent_as"] = None if held is None else held.get("sent")
    told = None if outcome is None else {f.name: getattr(outcome, f.name) for f in fields(outcome) if f.name != "key"}
    answered = isinstance(outcome, Completion)
    return request | {"answer": told if answered else None, "failure": None if answered else told, "note": None}


def _compare(request: Story, entry: Mapping[str, Any]) -> None:
    """Tell what the run was decided on, where the journal holds something else by now (`--retry-failed`)."""
    answer, text = request["answer"], entry.get("text")
    if text is not None and (answer is None or answer["text"] != text):
        request["answer"] = {"text": text}
        held = "has another by now" if answer is not None else "does not hold it"
        request["note"] = f"The answer is as ledger.jsonl keeps it; the journal {held}."
    elif answer is not None and entry["stage"] == "teacher" and text is None:
        request["note"] = "The journal has this answer by now; when the run was decided, the request had failed."


def _source(report: Mapping[str, Any], reference: Mapping[str, Any] | None) -> Story | None:
    """Return where a row comes from; its address on the web is kept with the index's sources."""
    if reference is None:
        return None
    place = ("dataset", "config", "split", "revision")
    known = (report.get("index") or {}).get("sources") or []
    same: Story = next((source for source in known if all(source.get(p) == reference.get(p) for p in place)), {})
    return {name: reference.get(name, same.get(name)) for name in ABOUT_SOURCE}


def _options(report: Mapping[str, Any]) -> CheckOptions:
    """Return the checks' options, as the run had them; older reports have them among the method's."""
    given = report.get("checks") or report.get("method_options") or {}
    return CheckOptions(**{f.name: given[f.name] for f in fields(CheckOptions) if f.name in given})


def _steps(run: FinishedRun, *, sure: bool) -> tuple[CheckStep, ...]:
    """Return the checks of a run in their order: those of every answer, then those of the whole set that were on."""
    options = _options(run.report)
    whole = (step for step in whole_set_steps(run.task, options, map_reasons(options)) if step.idle is None)
    return (*check_steps(run.task, options, guarded=_guarded(run.report), sure=sure), *whole)


def _guarded(report: Mapping[str, Any]) -> bool:
    return bool((report.get("task") or {}).get("evaluation"))


def _checks(found: FoundRow, steps: tuple[CheckStep, ...]) -> list[Story]:
    """Return what each check said, in order; the first refusal is the last word, and no later check was run."""
    entry = found.entry
    stage, reason, detail = (entry.get(name) for name in ("stage", "reason", "detail"))
    if stage == "retrieval":
        return []
    if stage == "teacher":
        refused = entry.get("text") is not None  # else there was no answer to read
        return [
            _check(READABLE, "refused" if refused else "not_run", f"{reason}: {detail}" if refused else None),
            *(_check(step.name, "not_run") for step in steps),
        ]
    checks = [_check(READABLE, "passed")]
    if reason is not None and reason != "surplus" and not any(reason in step.reasons for step in steps):
        # Written by another version: which of the checks known here it came after is not known.
        return [*checks, _check(str(reason), "refused", detail)]
    running = reason != "surplus"
    for step in steps:
        if running and reason in step.reasons:
            checks.append(_check(step.name, "refused", f"{reason}: {detail}"))
            running = False
        elif not running:
            checks.append(_check(step.name, "not_run"))
        else:
            checks.append(_check(step.name, "not_applicable" if step.idle else "passed", step.idle))
    return checks


def _check(name: str, result: str, detail: str | None = None) -> Story:
    return {"check": name, "result": result, "detail": detail}


def _outcome(run: FinishedRun, found: FoundRow) -> Story:
    entry = found.entry
    if found.is_example:
        split = entry["split"]
        example = _example(run, split, found.in_split)
        return {"outcome": "example", "position": found.number, "split": split, "row_in_split": found.in_split} | {
            "example": example
        }
    outcome = "surplus" if entry["reason"] == "surplus" else entry["outcome"]
    told = {name: entry.get(name) for name in ("stage", "reason", "detail")}
    # Only of what the teacher left without a usable answer does the ledger count the attempts.
    return {"outcome": outcome, **told, "attempts": entry["attempts"] if entry["stage"] == "teacher" else None}


def _example(run: FinishedRun, split: str, number: int) -> Story:
    """Return an example as the dataset has it, its label as text; only its row group is read."""
    from pyarrow import parquet

    path = run.path / "data" / f"{split}.parquet"
    try:
        with parquet.ParquetFile(path) as file:
            group = 0
            while number >= (held := file.metadata.row_group(group).num_rows):
                number, group = number - held, group + 1
            record: Story = file.read_row_group(group).slice(number, 1).to_pylist()[0]
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        raise RebaseError(
            f"{path} does not hold the example ({' '.join(str(error).split())}). The command that wrote the run "
            "writes it again, from the journal."
        ) from error
    if run.task.labels and isinstance(record[run.task.output], int):
        record[run.task.output] = list(run.task.labels)[record[run.task.output]]
    return record


def story_json(story: Story) -> str:
    r"""Return a story as JSON that any terminal and encoding takes; reading it gives every text back to the byte."""
    return json.dumps(story, indent=2).replace("\x7f", "\\u007f")
