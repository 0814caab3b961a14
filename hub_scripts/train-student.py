# /// script
# requires-python = ">=3.11"
# dependencies = ["rebase-hf[all,offline]"]
# ///
"""Train a student on a dataset that rebase_hf published, compare it with its baselines, and publish it with its card.

    hf jobs uv run --flavor t4-small --secrets HF_TOKEN train-student.py ORG/my-dataset ORG/my-student

Everything behind the two ids goes to `rebase-hf train`: its help lists it. That the repository can be written to is
proved before anything is trained. Baselines and scores need the task's evaluation rows: name a task file whose
`evaluation` can be read here with --task, where the published one names rows of the machine that it was made on.

A student that can't be published is kept in a private repository; the job says how to publish it from there.
"""

import argparse
import shlex
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from rebase_hf import Task, push_student
from rebase_hf.cli.jobs import (
    Job,
    add_push_options,
    command,
    has_student,
    kept_unless_published,
    prove,
    told,
    wishes_of,
)
from rebase_hf.publish.hub_errors import hub_errors


def main() -> None:
    """Prove write access, fetch the dataset, train, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("dataset_id", help="the dataset that rebase_hf published")
    parser.add_argument("repo_id", help="where the student goes, ORG/NAME; it is made where there is none")
    parser.add_argument("--task", type=Path, help="a task file to take the place of the published one")
    parser.add_argument("--revision", help="which version of the dataset")
    add_push_options(parser)
    options, rest = parser.parse_known_args()
    keep_to = options.keep_to or f"{options.repo_id}-run"
    with told():
        how = asdict(wishes_of(options))
        prove(options.repo_id, "model", private=how["private"], keep_to=keep_to)
        folder = fetch(options.dataset_id, options.revision)
        if options.task:
            take_task(options.task, folder)
    chosen = {name: value for name, value in how.items() if value or (name, value) == ("private", False)}
    published = {"dataset_id": options.dataset_id} | chosen
    given = ", ".join(f"{name}={value!r}" for name, value in published.items())
    code = f"from rebase_hf import push_student; print(push_student('kept/run', {options.repo_id!r}, {given}))"
    job = Job(folder, keep_to, has_student, shlex.join(["python", "-c", code]), again="", began=time.time())
    with kept_unless_published(job):
        command("train", str(folder), *rest)
        with told():
            print(push_student(folder, options.repo_id, **published))


def fetch(dataset_id: str, revision: str | None) -> Path:
    """Return a run folder with what was published of a run."""
    from huggingface_hub import snapshot_download

    folder = Path(tempfile.mkdtemp()) / "run"
    patterns = ["data/*", "report.json", "task.yaml"]
    with hub_errors(dataset_id, "fetch the dataset"):
        snapshot_download(
            dataset_id, repo_type="dataset", revision=revision, local_dir=folder, allow_patterns=patterns
        )
    return folder


def take_task(file: Path, folder: Path) -> None:
    """Put a task file in the place of the published one; its files of rows are found where they are."""
    (folder / "task.yaml").write_text(Task.load(file).to_yaml(), encoding="utf-8")


if __name__ == "__main__":
    main()
