"""The code that decides what a dataset holds, as a run is known by."""

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

# The modules that decide what a dataset holds: with other code in them, a run is another run.
DECIDING = (
    "rows", "labelled_rows", "task_file", "task", "features", "methods", "quality", "teacher/*prompts",
    "teacher/advice", "teacher/cut_answers", "teacher/templates", "teacher/faults", "teacher/few_shot",
    "embedding_model", "setfit_training", "leader", "round", "conversing", "questions", "decisions", "outcomes",
    "finished_set",
)  # fmt: skip


@cache
def code_fingerprint() -> str:
    """Return a digest of the code that decides what a dataset holds, and of its prompt templates."""
    digest = hashlib.sha256(version("rebase-hf").encode())
    root = Path(str(files("rebase_hf")))
    for name in DECIDING:
        for path in sorted([*root.glob(f"{name}.py"), *root.glob(f"{name}/*.py"), *root.glob(f"{name}/*.jinja")]):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
