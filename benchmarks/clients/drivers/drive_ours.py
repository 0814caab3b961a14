"""rebase_hf as a user calls it: `generate`, with retrieval, the journal, every check, and decisions on disk."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from job import Job, run

from benchmarks.made_rows import TASK, opened_index
from rebase_hf import Teacher, generate


def answers(job: Job) -> Iterator[str]:
    """Yield the examples."""
    os.environ["REBASE_HOME"] = str(Path(job.folder, "home"))
    index = opened_index(Path(job.material))
    teacher = Teacher(job.url, max_concurrency=job.in_flight)
    for example in generate(TASK, index, teacher, num_examples=len(job.prompts)):
        yield json.dumps(dict(example.fields))


if __name__ == "__main__":
    run(answers)
