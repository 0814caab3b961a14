"""A student's folder: what is in it; `student.json` stands there when it is complete (`replacing.py`).

student.json            format, kind, base model, labels in order, seed, versions, the names of all other files
task.yaml               the task
training.json           how it was trained: the facts for its card
config.json, model.safetensors, tokenizer.json, ...    the model, as its own library saves it
head.safetensors        SetFit and linear students: the classifier (coef, intercept, classes in the file's metadata)
model_head.pkl          SetFit and linear students: the same for plain `SetFitModel.from_pretrained`; never read here
adapter_model.safetensors    causal students saved as an adapter: what LoRA learnt, beside adapter_config.json
reranker/               grounded students: what chooses their passages
knowledge/              grounded students with a knowledge store: the index that they retrieve from
local.json              grounded students: where their index lies on this machine; never published
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.students.json_files import read_json, write_json
from rebase_hf.students.replacing import FILES, MANIFEST, is_incomplete, replacing
from rebase_hf.task import Task

FORMAT = 1
FACTS = "training.json"
HEAD = "head.safetensors"
PICKLE = "model_head.pkl"
ADAPTER = "adapter_model.safetensors"
RERANKER = "reranker"
KNOWLEDGE = "knowledge"
LOCAL = "local.json"
# What a student from the Hub needs. Pickles and Python files are not even downloaded.
DOWNLOADED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.yaml", "*.md", "*.jinja", f"{KNOWLEDGE}/*")
NOT_DOWNLOADED = ("*.pkl", "*.pickle", "*.py")
LIBRARIES = ("rebase-hf", "torch", "transformers", "sentence-transformers", "setfit", "scikit-learn", "peft")


@dataclass(frozen=True, slots=True)
class SavedStudent:
    """A student's folder, read but for its model."""

    folder: Path
    kind: str
    task: Task
    facts: Mapping[str, Any]


@contextmanager
def saving(
    folder: str | Path, *, kind: str, task: Task, facts: Mapping[str, Any], keeps: Collection[str] = ()
) -> Iterator[Path]:
    """Yield a folder to write a student's model into, and put it with task, facts and manifest into `folder`.

    Args:
        keeps: Folders of an earlier student that are this one's too, and stay.

    Raises:
        StudentError: `folder` is a file, or holds a file of such a name that no student wrote.
    """
    with replacing(folder, keeps=keeps) as new:
        yield new
        _describe(new, kind=kind, task=task, facts=facts)


def _describe(folder: Path, *, kind: str, task: Task, facts: Mapping[str, Any]) -> None:
    # Where the rows to score by lay on this machine is of no use elsewhere, and nobody's business.
    portable = {key: value for key, value in task.to_dict().items() if not _local_rows(key, value)}
    (folder / "task.yaml").write_text(Task.load(portable).to_yaml(), encoding="utf-8")
    write_json(folder / FACTS, facts)
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "task": task.name,
        "base_model": facts.get("base_model"),
        "base_model_sha256": facts.get("base_model_sha256"),
        "labels": list(task.labels),
        "seed": facts.get("seed"),
        "versions": library_versions(),
    }
    write_json(folder / MANIFEST, manifest)


def read_saved(path_or_repo_id: str | Path, revision: str | None = None) -> SavedStudent:
    """Read a student's folder, here or on the Hub.

    Raises:
        StudentError: It is not a student, or one of a newer format.
    """
    folder = _local_folder(path_or_repo_id, revision)
    manifest_file = folder / MANIFEST
    if is_incomplete(folder):
        raise StudentError(f"{folder} holds a student whose saving was cut short: it is incomplete. Save it again.")
    if not manifest_file.is_file():
        held = ", ".join(sorted(file.name for file in folder.iterdir())[:8]) or "nothing"
        raise StudentError(
            f"{path_or_repo_id} holds no `{MANIFEST}`, so it is not a saved student; it holds {held}. "
            "Give the folder that `train_student` or `save` wrote."
        )
    manifest = read_json(manifest_file)
    if manifest.get("format") != FORMAT:
        raise StudentError(
            f"{manifest_file} is of format `{manifest.get('format')}`; this version reads {FORMAT}. "
            "Upgrade rebase-hf, or train the student again."
        )
    _check_files(folder, manifest.get(FILES) or [])
    return SavedStudent(folder, str(manifest.get("kind")), Task.load(folder / "task.yaml"), read_json(folder / FACTS))


def _check_files(folder: Path, names: Iterable[str]) -> None:
    """Raise where a file of a student is missing that it can't do without, and that its downloading would bring."""
    for name in names:
        # An index has a check of its own, and says what to give.
        own = name != LOCAL and not name.startswith(f"{KNOWLEDGE}/")
        if is_downloaded(name) and own and not (folder / name).is_file():
            raise StudentError(f"{folder} lacks `{name}`. The student is damaged; save or download it again.")


def is_downloaded(name: str) -> bool:
    """Return whether a file of a student comes with it from the Hub."""
    return any(fnmatch(name, kind) for kind in DOWNLOADED) and not any(fnmatch(name, kind) for kind in NOT_DOWNLOADED)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide what a student is, of those installed."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _local_folder(path_or_repo_id: str | Path, revision: str | None) -> Path:
    if Path(path_or_repo_id).is_dir():
        return Path(path_or_repo_id)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name = str(path_or_repo_id)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise StudentError(f"Student folder {name} does not exist. Give a folder, or the id of a Hub model.")
    try:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=list(DOWNLOADED), ignore_patterns=list(NOT_DOWNLOADED)
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise StudentError(
            f"Student `{name}` is neither a folder here nor a model on the Hub: {' '.join(str(error).split())}"
        ) from error


def _local_rows(key: str, value: Any) -> bool:
    return key in ("evaluation", "train") and "path" in value
