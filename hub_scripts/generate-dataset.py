# /// script
# requires-python = ">=3.11"
# dependencies = ["rebase-hf[all,offline]"]
# ///
"""Make the dataset of a task from an index, and publish it with its card.

    hf jobs uv run --flavor cpu-upgrade --secrets HF_TOKEN generate-dataset.py ORG/my-task ORG/my-dataset \
        --index ORG/my-index --teacher meta-llama/Llama-3.3-70B-Instruct --num-examples 1000

TASK is a task file, or a Hub dataset that holds a `task.yaml`. Everything else goes to `rebase-hf generate`: its help
lists it. That the repository can be written to is proved before anything is paid.
"""

import argparse
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Prove write access, generate, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a task file, or a Hub dataset that holds a task.yaml")
    parser.add_argument("repo_id", help="where the dataset goes, ORG/NAME; it is made where there is none")
    parser.add_argument("--folder", type=Path, help="the run folder; default a temporary one")
    parser.add_argument("--redact", action="store_true", help="publish without what looks personal or secret")
    options, rest = parser.parse_known_args()
    prove(options.repo_id, "dataset")
    folder = str(options.folder or Path(tempfile.mkdtemp()) / "run")
    rebase("generate", options.task, "--output", folder, *rest)
    rebase("report", folder)
    rebase("push", folder, options.repo_id, *(["--redact"] if options.redact else []))


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
