# /// script
# requires-python = ">=3.11"
# dependencies = ["rebase-hf[all,offline]"]
# ///
r"""Make the dataset of a task from an index, and publish it with its card.

    hf jobs uv run --flavor cpu-upgrade --secrets HF_TOKEN generate-dataset.py ORG/my-task ORG/my-dataset \
        --index ORG/my-index --teacher meta-llama/Llama-3.3-70B-Instruct --num-examples 1000

TASK is a task file, or a Hub dataset that holds a `task.yaml`. Everything else goes to `rebase-hf generate`: its help
lists it. That the repository can be written to is proved before anything is paid.

Fewer examples than asked for are published, and the job ends with exit code 3. A job that ends so, can't publish or is
stopped on the way keeps the run and the teacher's answers in a private repository and says how to go on from there.
"""

import argparse
import shlex
import sys
import tempfile
import time
from pathlib import Path

from rebase_hf.cli.jobs import (
    Job,
    add_push_options,
    command,
    earlier_answers,
    has_examples,
    keep,
    kept_unless_published,
    prove,
    push_options,
    told,
    wishes_of,
)
from rebase_hf.secrets_in_text import without_secrets


def main() -> None:
    """Prove write access, generate, publish."""
    words = list(sys.argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("task", help="a task file, or a Hub dataset that holds a task.yaml")
    parser.add_argument("repo_id", help="where the dataset goes, ORG/NAME; it is made where there is none")
    parser.add_argument("--folder", "--output", type=Path, help="the run folder; default a temporary one")
    parser.add_argument("--go-on", action="store_true", help="go on from the answers that an earlier job kept")
    add_push_options(parser)
    options, rest = parser.parse_known_args()
    folder = options.folder or Path(tempfile.mkdtemp()) / "run"
    licensed = [] if options.teacher_license is None else ["--teacher-license", options.teacher_license]
    generate = ["generate", options.task, "--output", str(folder), *licensed, *rest]
    if "--dry-run" in rest:
        sys.exit(command(*generate))
    keep_to = options.keep_to or f"{options.repo_id}-run"
    with told():
        wishes = wishes_of(options)
        prove(options.repo_id, "dataset", private=wishes.private, keep_to=keep_to)
        earlier = earlier_answers(keep_to) if options.go_on else None
    publish = shlex.join(["rebase-hf", "push", "kept/run", options.repo_id, *push_options(options)])
    again = without_secrets(shlex.join([Path(words[0]).name, *words[1:], *([] if options.go_on else ["--go-on"])]))
    job = Job(folder, keep_to, has_examples, publish, again, began=time.time(), earlier=earlier)
    with kept_unless_published(job):
        code = command(*generate, may_end=(0, 3))
        if not has_examples(folder):
            sys.exit(code)
        command("report", str(folder))
        command("push", str(folder), options.repo_id, *push_options(options))
    if code:  # there may be more to be had, with another budget or index, and what was answered is paid for
        keep(job, published=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
