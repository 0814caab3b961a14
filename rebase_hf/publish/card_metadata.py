"""The metadata of cards: what the Hub reads of a dataset and of a student."""

from collections.abc import Mapping
from typing import Any

from rebase_hf.index.index_card import LICENSE_IDS
from rebase_hf.public_text import public_name
from rebase_hf.publish.base_model import base_models_of, student_license
from rebase_hf.publish.finished_run import FinishedRun, is_hub_id
from rebase_hf.publish.licenses import License
from rebase_hf.students.answer_windows import split_inputs
from rebase_hf.students.named import kind_for
from rebase_hf.students.saving import ADAPTER, PICKLE

CONFIG = "default"
TASK_CATEGORIES = {
    "classification": "text-classification",
    "extractive": "question-answering",
    "generation": "text-generation",
}
# Our metric names to the ids that the Hub knows.
METRIC_IDS = {"macro_f1": "f1", "squad_f1": "f1", "rouge_l": "rouge"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def pretty_name(folder: FinishedRun) -> str:
    """Return the task's name as a title."""
    return folder.task.name.replace("-", " ").replace("_", " ").capitalize()


def dataset_metadata(folder: FinishedRun) -> Any:
    """Return the `DatasetCardData` of a run's dataset."""
    from huggingface_hub import DatasetCardData

    rows = sum(folder.split_sizes.values())
    hub_sources = dict.fromkeys(source.dataset for source in folder.sources if source.on_hub)
    files = [{"split": split, "path": f"data/{path.name}"} for split, path in folder.data_files.items()]
    return DatasetCardData(
        language=[folder.task.language],
        **_license_metadata(folder.license),
        pretty_name=pretty_name(folder),
        size_categories=[next((name for limit, name in _SIZES if rows < limit), "n>1M")],
        task_categories=[TASK_CATEGORIES[folder.task.kind]],
        annotations_creators=["machine-generated"],
        source_datasets=list(hub_sources) or None,
        tags=["rebase_hf", "synthetic", folder.method],
        configs=[{"config_name": CONFIG, "data_files": files}],
    )


def student_metadata(folder: FinishedRun, *, dataset_id: str | None = None) -> Any:
    """Return the `ModelCardData` of a run's student."""
    from huggingface_hub import ModelCardData

    ids = [base.hub_id for base in base_models_of(folder)]
    results = _results(folder)
    return ModelCardData(
        base_model=ids[0] if ids else None,  # a reranker is another model beside it
        datasets=[dataset_id] if dataset_id else None,
        language=[folder.task.language],
        library_name=_library(folder),
        **_student_license_metadata(folder),
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=folder.task.name if results else None,
        eval_results=results or None,
        pipeline_tag=TASK_CATEGORIES[folder.task.kind],
        tags=["rebase_hf", "distillation", folder.method],
        widget=[_widget(folder, example) for example in folder.task.examples[:3]],
    )


def student_kind(folder: FinishedRun) -> str:
    """Return the kind of the run's student; before it is trained, the one that its task gets."""
    return str(folder.student.get("kind") or kind_for(folder.task).name)


def _widget(folder: FinishedRun, example: Mapping[str, str]) -> dict[str, str]:
    """Return what the Hub's page fills in for one of the task's examples; a question has its text beside it."""
    if not folder.task.extractive:
        return {"text": folder.task.input_text(example)}
    question, context = split_inputs(folder.task, example)
    return {"text": question, "context": context}


def _library(folder: FinishedRun) -> str:
    """Return the library that reads the student's folder without this one; of a head it can't read, all but that."""
    if (folder.path / "student" / ADAPTER).is_file():
        return "peft"
    if student_kind(folder) not in ("setfit", "linear"):
        return "transformers"
    return "setfit" if (folder.path / "student" / PICKLE).is_file() else "sentence-transformers"


def _license_metadata(found: License) -> dict[str, Any]:
    if found.identifier:
        known = found.identifier in LICENSE_IDS  # the Hub takes no other
        return {"license": found.identifier} if known else {"license": "other", "license_name": found.identifier}
    return {"license": "other", "license_name": "see-sources"} if found.problems else {}


def _student_license_metadata(folder: FinishedRun) -> dict[str, Any]:
    found = student_license(folder)
    held = [base.license for base in base_models_of(folder) if base.license.identifier == "other"]
    if found.identifier != "other" or not held:
        return _license_metadata(found)
    link = {"license_link": held[0].link} if held[0].link else {}
    return {"license": "other", "license_name": held[0].name or "see-base-model", **link}


def _results(folder: FinishedRun) -> list[Any]:
    from huggingface_hub import EvalResult

    student, evaluation = folder.report.get("student") or {}, folder.report.get("evaluation") or {}
    source = public_name(str(evaluation.get("source") or folder.task.name))
    return [
        EvalResult(
            task_type=TASK_CATEGORIES[folder.task.kind],
            task_name=pretty_name(folder),
            dataset_type=source if is_hub_id(source) else folder.task.name,
            dataset_name=f"{pretty_name(folder)}, held-out rows",
            metric_type=METRIC_IDS.get(metric, metric),
            metric_name=metric,
            metric_value=round(float(value), 4),
        )
        for metric, value in student.items()
        if not metric.endswith("_std") and value is not None
    ]
