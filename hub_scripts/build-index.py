# /// script
# requires-python = ">=3.11"
# dependencies = ["rebase-hf[encoders,lexical,offline]"]
# ///
r"""Build an index over the rows of Hub datasets, and publish it.

    hf jobs uv run --flavor cpu-upgrade --secrets HF_TOKEN build-index.py ORG/my-index \
        --hub-filter task_categories:text-classification --language en --limit 200

Everything behind the repository's id goes to `rebase-hf index build`: its help lists the rest. That the repository can
be written to is proved before anything is read.
"""

import argparse
import tempfile
from pathlib import Path

from rebase_hf.cli.jobs import command, prove, told


def main() -> None:
    """Prove write access, build, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("repo_id", help="where the index goes, ORG/NAME; it is made where there is none")
    parser.add_argument("--folder", type=Path, help="build here, and go on with what is here; default a temporary one")
    parser.add_argument("--private", action="store_true", help="only you may see it")
    options, rest = parser.parse_known_args()
    with told():
        prove(options.repo_id, "dataset", private=options.private or None)
    folder = str(options.folder or Path(tempfile.mkdtemp()) / "index")
    command("index", "build", folder, *rest)
    command("index", "push", folder, options.repo_id, *(["--private"] if options.private else []))


if __name__ == "__main__":
    main()
