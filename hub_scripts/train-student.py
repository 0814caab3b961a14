# /// script
# requires-python = ">=3.11"
# dependencies = ["rebase-hf[all,offline]"]
# ///
"""Train a student on a dataset that rebase_hf published, compare it with its baselines, and publish it with its card.

    hf jobs uv run --flavor t4-small --secrets HF_TOKEN train-student.py ORG/my-dataset ORG/my-student

Everything behind the two ids goes to `rebase-hf train`: its help lists it. That the repository can be written to is
proved before anything is trained. Baselines and scores need the task's evaluation rows: name a task file whose
`evaluation` can be read here with --task, where the published one names rows of the machine that it was made on.
"""

import argparse
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Prove write access, fetch the dataset, train, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset_id", help="the dataset that rebase_hf published")
    parser.add_argument("repo_id", help="where the student goes, ORG/NAME; it is made where there is none")
    parser.add_argument("--task", type=Path, help="a task file to take the place of the published one")
    parser.add_argument("--revision", help="which version of the dataset")
    options, rest = parser.parse_known_args()
    prove(options.repo_id, "model")
    folder = fetch(options.dataset_id, options.revision)
    if options.task:
        take_task(options.task, folder)
    rebase("train", str(folder), *rest)
    push(folder, options.repo_id, options.dataset_id)


def fetch(dataset_id: str, revision: str | None) -> Path:
    """Return a run folder with what was published of a run."""
    from huggingface_hub import snapshot_download

    folder = Path(tempfile.mkdtemp()) / "run"
    patterns = ["data/*", "report.json", "task.yaml"]
    snapshot_download(dataset_id, repo_type="dataset", revision=revision, local_dir=folder, allow_patterns=patterns)
    return folder


def take_task(file: Path, folder: Path) -> None:
    """Put a task file in the place of the published one; its files of rows are found where they are."""
    from rebase_hf import Task
    from rebase_hf.errors import RebaseError

    try:
        (folder / "task.yaml").write_text(Task.load(file).to_yaml(), encoding="utf-8")
    except RebaseError as error:
        sys.exit(f"Error: {error}")


def push(folder: Path, repo_id: str, dataset_id: str) -> None:
    """Publish the student; end with one line where that can't be done."""
    from rebase_hf.errors import RebaseError
    from rebase_hf.publish.hub import push_student

    try:
        print(push_student(folder, repo_id, dataset_id=dataset_id))
    except RebaseError as error:
        sys.exit(f"Error: {error}")


def prove(repo_id: str, kind: str) -> None:
    """End with one line where a repository can't be written to."""
    from rebase_hf.errors import RebaseError
    from rebase_hf.publish.hub import prove_write_access

    try:
        prove_write_access(repo_id, kind)
    except RebaseError as error:
        sys.exit(f"Error: {error}")


def rebase(*arguments: str) -> None:
    """Run a command of `rebase-hf` here; end with its exit code where it is not 0."""
    from rebase_hf.cli import main as command_line

    sys.argv = ["rebase-hf", *arguments]
    try:
        command_line()
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    main()
