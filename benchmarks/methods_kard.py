"""KARD's rationales, verification and passages, on what four language models once explained about StrategyQA.

The replaying teacher explains a question with a recorded chain of thought, and says of an explanation what its model
concluded from it. The models had not been told the right answer then, as KARD's teacher is. Passages come from the
kit's bank, which is no encyclopaedia.

There are no weights of a sequence-to-sequence model in the kit, so no student is trained. What is measured needs none:

kept         of 100 questions asked about, how many rationales pass the reading
recall@k     how often the passage that the rationale finds (the silver one, which the student learns with) is among
             the first k that the question finds: a student that asks with the question alone is given another passage
             for all others, and that is the gap that KARD's reranker is to close
"""

import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import bank_index, kit_task, recorded
from benchmarks.linear_student import RememberingEncoder, scratch_folder
from benchmarks.methods_students import SEEDS, Made, run_whole, told
from benchmarks.recorded_teacher import explanation_key, question_key, replaying
from rebase_hf import RowIndex, Task
from rebase_hf.labelled_rows import RowsReference
from rebase_hf.methods.named import METHODS
from rebase_hf.quality.contamination import EvaluationGuard

TASK = "strategyqa"
TABLE = "strategyqa_faithful_cot"
TEACHERS = ("code-davinci-002", "text-davinci-003", "gpt-3.5-turbo", "gpt-4")
OPTIONS = {"rationales": 1, "passages": 1}
DEPTHS = (1, 10)


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--examples", type=int, default=100, help="examples asked for of each run")
    made.add_argument("--teachers", nargs="+", default=list(TEACHERS), choices=TEACHERS)
    options = made.parse_args()
    if "kard" not in METHODS:
        sys.exit("This version has no method `kard`; nothing is measured.")
    task, encoder = kit_task(TASK, train=True), RememberingEncoder()
    index = bank_index(scratch_folder(), encoder)
    lines = []
    for teacher in options.teachers:
        lines.append(measure(task, index, teacher, options.examples))
        print(lines[-1], flush=True)
    encoder.keep()
    report("methods_kard", made, options, lines)


def measure(task: Task, index: RowIndex, teacher: str, num_examples: int) -> Line:
    """Run KARD once a seed with one teacher's recorded explanations."""
    made = [run(task, index, teacher, num_examples, seed) for seed in range(SEEDS)]
    guard = EvaluationGuard(task, task.evaluation_rows())
    found = [silver_ranks(task, index, one, guard) for one in made]
    kept = [100 * len(one.examples) / one.tally.outputs for one in made]
    recall = {depth: [float(np.mean([rank <= depth for rank in ranks])) for ranks in found] for depth in DEPTHS}
    shown = f"{_spread(kept, 1)} of 100 rationales kept; recall of the silver passage by the question: "
    shown += ", ".join(f"@{depth} {_spread(values, 3)}" for depth, values in recall.items())
    figures = {f"recall@{depth}": _figures(values) for depth, values in recall.items()} | {"kept": _figures(kept)}
    details = {"teacher": teacher, "scores": figures, "runs": told(made), "bank_rows": len(index)}
    return Line(f"kard.{teacher}", f"kard, {task.name}, {teacher}", shown, details=details)


def run(task: Task, index: RowIndex, teacher: str, num_examples: int, seed: int) -> Made:
    """Run the method once, on the kit's labelled questions in the seed's order."""
    rows = list(recorded(TABLE, teacher=teacher, condition="cot"))
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder, replaying(answers_of(rows)) as server:
        path = Path(folder, "questions.jsonl")
        shuffled = random.Random(seed).sample(task.train_rows(), len(task.train_rows()))
        path.write_text("".join(json.dumps(row) + "\n" for row in shuffled))
        asked = replace(task, train=RowsReference(path=str(path)))
        return run_whole(asked, index, server.url, "kard", num_examples=num_examples, seed=seed, options=OPTIONS)


def answers_of(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Return recorded explanations by question, and what was concluded by explanation, as the prompts show them."""
    from rebase_hf.teacher.rationale_prompts import without_answer

    answers: dict[str, list[str]] = {}
    for row in rows:
        answers.setdefault(question_key(row["question"]), []).append(row["rationale"].strip())
        answers[explanation_key(without_answer(row["rationale"].strip()))] = [row["output"] or ""]
    return answers


def silver_ranks(task: Task, index: RowIndex, made: Made, guard: EvaluationGuard) -> list[float]:
    """Return at which rank the question finds each example's passage; infinite where not among the deepest."""
    from rebase_hf.methods.passages import passages_for

    examples = [example for example in made.examples if example.passages]
    questions = [task.input_text(example.fields) for example in examples]
    by_question = passages_for(index, questions, DEPTHS[-1], guard, own=questions)
    ranks = []
    for example, rows in zip(examples, by_question, strict=True):
        silver = next(source for source in example.sources if source["role"] == "passage")
        places = [row.source.reference("passage") for row in rows]
        ranks.append(places.index(silver) + 1.0 if silver in places else np.inf)
    return ranks


def _figures(values: Sequence[float]) -> dict[str, float]:
    return {"mean": round(float(np.mean(values)), 4), "std": round(float(np.std(values, ddof=1)), 4)}


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


if __name__ == "__main__":
    main()
