"""The cards of a dataset and of a student, computed from the run folder alone.

A figure that the run does not hold is left out; none is made up.
"""

import json
import re
from typing import Any

from rebase_hf.public_text import public, public_name, shorten
from rebase_hf.publish.base_model import base_models_of, built_with, student_license
from rebase_hf.publish.card_metadata import dataset_metadata, pretty_name, student_kind, student_metadata
from rebase_hf.publish.contamination_findings import contamination
from rebase_hf.publish.findings import (
    dataset_limits,
    diversity_rows,
    funnel,
    no_sources,
    student_limits,
    teacher_line,
    teacher_terms,
)
from rebase_hf.publish.finished_run import FinishedRun, RunPath, Source, address
from rebase_hf.publish.papers import METHODS, SETFIT
from rebase_hf.publish.report_figures import TITLES, draw_figures, draw_student_figures
from rebase_hf.publish.templating import environment
from rebase_hf.publish.training_findings import learning_by_source, learning_map
from rebase_hf.publish.worth_it import worth_it
from rebase_hf.students.saving import KNOWLEDGE, PICKLE

_LINK = re.compile(r"https://[^\s()<>\"\\`]+")
# What the card tells of `training.json`.
_TOLD = ("max_pairs", "batch_size", "learning_rate", "max_length", "lora_rank", "rationales", "C", "seed")
_CELL_CHARS = 300
_SHOWN_CELLS = 6


def render_dataset_card(run: RunPath | FinishedRun, *, repo_id: str | None = None) -> str:
    """Return the dataset card of a run.

    Args:
        repo_id: Where it will be published, for the lines that load it; else the run folder itself.

    Raises:
        PublishError: The folder is no finished run.
    """
    folder = FinishedRun.open(run)
    report = public(folder.report)
    return _fill(
        "dataset.md.jinja",
        metadata=dataset_metadata(folder).to_yaml(),
        title=pretty_name(folder),
        repo_id=repo_id,
        run=folder,
        report=report,
        task=folder.task,
        paper=METHODS.get(folder.method),
        teacher=teacher_line(report),
        terms=teacher_terms(report),
        source_rows=[_source_row(source) for source in folder.sources],
        no_sources=no_sources(report),
        funnel=funnel(report),
        diversity=diversity_rows(report),
        contamination=contamination(report),
        shown=_shown_examples(folder),
        limits=dataset_limits(folder),
        worth=worth_it(report),
        figures=[(name, TITLES[name]) for name in draw_figures(folder)],
    )


def render_student_card(
    run: RunPath | FinishedRun, *, repo_id: str | None = None, dataset_id: str | None = None
) -> str:
    """Return the model card of a run's student.

    Args:
        repo_id: Where the student will be published, for the lines that load it; else the folder `student`.
        dataset_id: Where the dataset was published, if it was.

    Raises:
        PublishError: The folder is no finished run.
    """
    folder = FinishedRun.open(run)
    report = public(folder.report)
    papers = [METHODS.get(folder.method), SETFIT if student_kind(folder) == "setfit" else None]
    return _fill(
        "student.md.jinja",
        metadata=student_metadata(folder, dataset_id=dataset_id).to_yaml(),
        title=f"{pretty_name(folder)} student",
        run=folder,
        report=report,
        task=folder.task,
        papers=list(filter(None, papers)),
        repo_id=repo_id,
        dataset_id=dataset_id,
        bases=base_models_of(folder),
        license=student_license(folder),
        built_with=built_with(folder),
        example=_python_literal(folder),
        index=_student_index(folder),
        teacher=teacher_line(report),
        terms=teacher_terms(report),
        source_rows=[_source_row(source) for source in folder.sources],
        limits=student_limits(folder),
        worth=worth_it(report),
        plain=_plain_lines(folder, repo_id or "student"),
        training=_training_line(folder),
        learning=learning_by_source(folder.path),
        mapped=learning_map(folder.path),
        figures=[(name, TITLES[name]) for name in draw_student_figures(folder)] if repo_id else [],
    )


def _fill(template: str, **values: Any) -> str:
    filled = environment().get_template(template).render(values)
    # What blocks leave behind. Texts of rows stand in fences as JSON, where a line break is `\\n`.
    return re.sub(r"\n{3,}", "\n\n", filled).rstrip() + "\n"


def _source_row(source: Source) -> dict[str, Any]:
    revision = re.sub(r"[^\w.-]", "", source.revision or "")[:12]
    link = f"https://huggingface.co/datasets/{source.dataset}/tree/{source.revision}" if source.on_hub else source.url
    return {"source": source, "revision": revision, "link": link if _LINK.fullmatch(link or "") else None}


def _shown_examples(folder: FinishedRun, count: int = 3) -> list[dict[str, Any]]:
    """Return the first rows that differ in output or source from those before them."""
    shown: list[dict[str, Any]] = []
    seen: set[str] = set()
    for _, row in folder.rows():
        made_from = row.get("provenance") or {}
        news = {f"output {row[folder.task.output]}", f"source {made_from.get('dataset')}"}
        if len(shown) < count and not news <= seen:
            seen |= news
            names = (*folder.task.fields, *(["rationale"] if row.get("rationale") else []))
            fields = {name: shorten(row[name], 2 * _CELL_CHARS) for name in names}
            cells = folder.retrieved_cells.get(address(made_from), {})
            kept = {name: shorten(value, _CELL_CHARS) for name, value in list(cells.items())[:_SHOWN_CELLS]}
            made_from = {**made_from, "dataset": public_name(made_from.get("dataset") or "") or None}
            shown.append({"fields": fields, "made_from": made_from, "cells": kept})
    return shown


def _plain_lines(folder: FinishedRun, name: str) -> str | None:
    """Return the lines that use the student without this package, where another library's few lines do."""
    if folder.student.get("kind") == "encoder":
        asked = f'pipeline("text-classification", "{name}", truncation=True)'
        return f"from transformers import pipeline\n\nclassify = {asked}"
    if (folder.path / "student" / PICKLE).is_file():
        return f'from setfit import SetFitModel\n\nmodel = SetFitModel.from_pretrained("{name}")'
    return None


def _training_line(folder: FinishedRun) -> str | None:
    """Return how the student was trained, as `training.json` says."""
    facts = folder.training
    if not facts.get("method"):
        return None
    settings = [f"{name} {facts[name]}" for name in _TOLD if facts.get(name) is not None]
    return f"{facts['method']}; {', '.join(settings)}."


def _student_index(folder: FinishedRun) -> str | None:
    """Return the index that a student is to be given, or None where it needs none or brings its own."""
    if (folder.path / "student" / KNOWLEDGE).is_dir():
        return None
    index = folder.training.get("index") or {}
    return public_name(str(index["name"])) if index else None


def _python_literal(folder: FinishedRun) -> str:
    example = folder.task.examples[0]
    names = folder.task.inputs
    # JSON's texts are Python's too, in the double quotes that formatters want.
    shown: object = example[names[0]] if len(names) == 1 else {name: example[name] for name in names}
    return json.dumps(shown, ensure_ascii=False)
