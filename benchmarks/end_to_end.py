"""From task file to student with the commands that anybody would type: one classification task, two generation tasks.

Needs REBASE_KIT. There are no weights of a language model beside it, so the teachers are records, and each line says
of what:

    ten_dim    what gpt-3.5-turbo wrote for texts of people, replayed when its text is the row that was retrieved
    gsm8k      what gpt-4 answered to questions, replayed in the same way
    xquad_en   none: answers that annotators marked, in rows of the bank that have the task's columns (`retrieved`)

The student of `ten_dim` is SetFit, that of `xquad_en` marks spans, both on all-MiniLM-L6-v2. That of `gsm8k` writes,
and no weights that can write are here: it is a T5 of 0.1 million random weights, which shows that the way is whole and
nothing else; what tells something there is how many of the dataset's answers are right.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import bank_index, kit_folder, kit_task, recorded, shortened, write_source
from benchmarks.linear_student import RememberingEncoder, scratch_folder
from benchmarks.pool_teacher import NUMBER, answering, row_number
from rebase_hf import Task
from rebase_hf.labelled_rows import RowsReference
from tests.doubles.tiny_models import make_t5

WROTE = {"teacher": "gpt-3.5-turbo", "condition": "rewrite of a seed, labels as in the data"}
SOLVED = {"teacher": "gpt-4", "condition": "cot"}
BASELINES = {
    "few_examples": "examples",
    "examples_and_phrases": "examples and phrases",
    "gold_rows": "as many rows of people",
    "majority": "majority",
}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--tasks", nargs="+", choices=list(PARTS), default=list(PARTS))
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--examples", type=int, default=450, help="examples of ten_dim and gsm8k")
    made.add_argument("--spans", type=int, default=700, help="examples of xquad_en")
    made.add_argument("--max-pairs", type=int, default=1200, help="training pairs of SetFit")
    made.add_argument("--windows", type=int, default=2000, help="windows that the student of xquad_en is trained on")
    made.add_argument("--test-rows", type=int, default=600, help="test rows of a task, at most")
    options = made.parse_args()
    lines = []
    for name in options.tasks:
        with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder:
            lines += PARTS[name](Path(folder), options)
        print(lines[-1], flush=True)
    report("end_to_end", made, options, lines)


def classification(folder: Path, options: argparse.Namespace) -> Iterator[Line]:
    """Texts of people about ten social dimensions, rewritten by a teacher with a label."""
    told: dict[str, tuple[str, str]] = {}
    for row in recorded("worker_vs_gpt_ten_dim", **WROTE):
        told.setdefault(json.loads(row["source"])["text"], (row["text"], row["output"]))
    rows = [{"text": text, NUMBER: row_number(place)} for place, text in enumerate(told)]
    task = shortened(kit_task("ten_dim", train=True), folder, options.test_rows)
    source = write_source(folder / "online_texts", rows, "Texts that people wrote online.", language="en")
    run(folder, "index", "build", folder / "index", "--source", source)
    more = ["--max-pairs", str(options.max_pairs), *several(options)]
    with answering(list(told.values())) as server:
        yield student_line(
            "ten_dim", whole(folder, task, server.url, options.examples, more), "gpt-3.5-turbo, recorded"
        )


def solving(folder: Path, options: argparse.Namespace) -> Iterator[Line]:
    """Word problems, answered by a teacher."""
    told = {row["question"]: (row["output"], bool(row["correct"])) for row in recorded("gsm8k_faithful_cot", **SOLVED)}
    rows = [{"question": question, NUMBER: row_number(place)} for place, question in enumerate(told)]
    task = shortened(kit_task("gsm8k"), folder, options.test_rows // 6)
    source = write_source(folder / "word_problems", rows, "Word problems of a grade school.", language="en")
    run(folder, "index", "build", folder / "index", "--source", source)
    with answering([(question, answer) for question, (answer, _) in told.items()]) as server:
        found = whole(
            folder,
            task,
            server.url,
            options.examples,
            ["--base-model", make_t5(folder / "t5"), "--max-per-source", "0"],
        )
    right = [told[row["question"]][1] for row in found["rows"]]
    share = f"{100 * sum(right) / len(right):.1f} % of {len(right)}"
    teacher = 100 * sum(correct for _, correct in told.values()) / len(told)
    yield Line(
        "gsm8k_rows",
        "gsm8k: answers of the dataset that are right, by the questions' own answers",
        f"{share} (of all that gpt-4 answered: {teacher:.1f} %)",
        details=found["counts"],
    )
    yield student_line("gsm8k", found, "gpt-4, recorded; the student's weights are random")


def marking(folder: Path, options: argparse.Namespace) -> Iterator[Line]:
    """Questions about paragraphs, answered by a part of them."""
    encoder = RememberingEncoder()
    index = bank_index(scratch_folder(), encoder, 1000)
    encoder.keep()
    (folder / "index").symlink_to(index.path)
    task = shortened(kit_task("xquad_en"), folder, options.test_rows)
    more = ["--method", "retrieved", "--max-pairs", str(options.windows), *several(options)]
    yield student_line("xquad_en", whole(folder, task, "none", options.spans, more), "annotators, recorded")


PARTS = {"ten_dim": classification, "gsm8k": solving, "xquad_en": marking}


def several(options: argparse.Namespace) -> list[str]:
    """Return the arguments for several students, and rows of one source as many as it has."""
    return ["--seeds", str(options.seeds), "--max-per-source", "0"]


def whole(folder: Path, task: Task, teacher: str, count: int, more: Sequence[str]) -> dict[str, Any]:
    """Run `rebase-hf run` on a task and return what its folder says."""
    placed = replace(
        task, train=task.train and RowsReference(path=str(kit_folder() / "tasks" / task.name / "gold.parquet"))
    )
    (folder / "task.yaml").write_text(placed.to_yaml())
    asked = ["run", folder / "task.yaml", "--index", folder / "index", "--teacher", teacher, "--allow-fewer"]
    run(folder, *asked, "--num-examples", str(count), "--output", folder / "run", *more)
    import pyarrow.parquet as parquet

    held = json.loads((folder / "run" / "report.json").read_text())
    counts = {name: held[name] for name in ("retrieved", "asked", "outputs", "dropped_before", "dropped", "examples")}
    rows = parquet.read_table(folder / "run" / "data" / "train.parquet").to_pylist()
    return {"report": held, "rows": rows, "counts": counts | {"sources": len(held["sources"])}}


def run(folder: Path, *arguments: object) -> None:
    """Run a command of the library's, with a home of its own."""
    environment = {**os.environ, "REBASE_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "rebase_hf", *map(str, arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def student_line(name: str, found: Mapping[str, Any], teacher: str) -> Line:
    """Return a student's score beside those of its baselines."""
    held = found["report"]
    metric = held["comparison"]["metric"]
    beside = [
        f"{words} {score_of(held['baselines'][key], metric)}"
        for key, words in BASELINES.items()
        if key in held["baselines"]
    ]
    return Line(
        name,
        f"{name}, {metric} of the student from {found['counts']['examples']} rows (teacher: {teacher})",
        f"{score_of(held['student'], metric)}; {', '.join(beside)}",
        details={
            "counts": found["counts"],
            "comparison": held["comparison"],
            "scores": {"student": held["student"], **held["baselines"]},
        },
    )


def score_of(scores: Mapping[str, float], metric: str) -> str:
    """Return a score with its spread."""
    spread = scores.get(f"{metric}_std")
    return f"{scores[metric]:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


if __name__ == "__main__":
    main()
