# /// script
# requires-python = ">=3.11"
# dependencies = ["rebase-hf[encoders,lexical,offline]"]
# ///
"""Build an index over the rows of Hub datasets, and publish it.

    hf jobs uv run --flavor cpu-upgrade --secrets HF_TOKEN build-index.py ORG/my-index \
        --hub-filter task_categories:text-classification --language en --limit 200

Everything behind the repository's id goes to `rebase-hf index build`: its help lists the rest. That the repository can
be written to is proved before anything is read.
"""

import argparse
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Prove write access, build, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repo_id", help="where the index goes, ORG/NAME; it is made where there is none")
    parser.add_argument("--folder", type=Path, help="build here, and go on with what is here; default a temporary one")
    options, rest = parser.parse_known_args()
    prove(options.repo_id, "dataset")
    folder = str(options.folder or Path(tempfile.mkdtemp()) / "index")
    rebase("index", "build", folder, *rest)
    rebase("index", "push", folder, options.repo_id)


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
