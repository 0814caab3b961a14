"""What the gate's checks of an answer alone cost a row, and what they refuse of texts that people wrote.

The cost is measured beside a gate without the checks of declining, length and language, on the answers of the
teacher's benchmarks and on ones with a rationale. With REBASE_KIT=<folder of the public kit> every human row of its
tasks is put to the checks of its own task (none of them should be refused), the German and Spanish ones of its bank to
those of an English task (all should be), and texts that a teacher declined in its recorded answers are counted.
"""

import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.claims import Line, at_most, parser, report
from benchmarks.made_rows import found_rows
from benchmarks.made_rows import task as post_room
from rebase_hf.quality.answer_checks import AnswerCheck, answer_checks
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.gate import Gate
from rebase_hf.quality.languages import Spoken
from rebase_hf.quality.refusals import refusal_in
from rebase_hf.rows import Completion, Draft
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Parsed

KIT = os.environ.get("REBASE_KIT")
TARGET_MS = 0.1
TARGET_REFUSED = 0.1
WITHOUT = CheckOptions(refusals=False, length_factor=None, language=False)
COMPLETION = Completion("key", "", "stop", "benchmark")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=5_000)
    made.add_argument("--rounds", type=int, default=5)
    options = made.parse_args()
    lines = [
        cost("cost", "CPU a row of the checks of declining, length and language", options, rationale=None),
        cost("cost_rationale", "the same with a rationale as long as the message", options, rationale="too"),
    ]
    if KIT:
        lines += [human_rows(Path(KIT)), *foreign_rows(Path(KIT)), declined_rows(Path(KIT))]
    report("quality_checks", made, options, lines)


def cost(key: str, what: str, options: Any, *, rationale: str | None) -> Line:
    """Return the milliseconds a row that a gate with the checks takes beyond one without them."""
    rounds = [
        [decided(checks, options.rows, rationale=rationale) for checks in (CheckOptions(), WITHOUT)]
        for _ in range(options.rounds)
    ]
    more = statistics.median(full - without for full, without in rounds)
    gate = statistics.median(full for full, _ in rounds)
    return Line(key, what, **at_most(more, TARGET_MS, "ms", digits=3), details={"whole_gate_ms": round(gate, 3)})


def decided(checks: CheckOptions, rows: int, *, rationale: str | None) -> float:
    """Return the milliseconds of CPU a row that a gate takes."""
    task = post_room()
    gate = Gate(task, EvaluationGuard(task, []), checks, method="rebase", teacher="benchmark", num_examples=rows)
    texts = [row.source.cells["text"] for row in found_rows(rows)]
    began = time.process_time()
    for number, text in enumerate(texts):
        parsed = Parsed({"message": text, "desk": "money"}, None if rationale is None else texts[number - 1])
        gate.decide(Draft((), None), COMPLETION, parsed)
    return (time.process_time() - began) / rows * 1e3


def human_rows(kit: Path) -> Line:
    """Return how many evaluation and training rows of the kit's tasks their own task's checks refuse."""
    refused: Counter[str] = Counter()
    count = 0
    for folder in sorted((kit / "tasks").iterdir()):
        task = Task.load(folder)
        checks = new_checks(task)
        for row in (*task.evaluation_rows(), *task.train_rows()):
            count += 1
            refusal = next((r for check in checks if (r := check.refuse(row, None)) is not None), None)
            if refusal is not None:
                refused[f"{task.name}: {refusal[0]}"] += 1
    share = 100 * refused.total() / count
    details = {"rows": count, "refused": dict(sorted(refused.items()))}
    return Line(
        "human", "human rows of the kit's tasks refused", **at_most(share, TARGET_REFUSED, "%"), details=details
    )


def new_checks(task: Task) -> list[AnswerCheck]:
    """Return the checks of declining, length and language."""
    checks = answer_checks(task, refusals=True, length_factor=CheckOptions().length_factor, language=True)
    return [check for check in checks if check.reasons[0] in ("teacher_declined", "too_short", "other_language")]


def foreign_rows(kit: Path) -> Iterator[Line]:
    """Yield how many German and Spanish texts are told not to be English."""
    english = Spoken.of("en", [])
    for language, name in (("de", "German"), ("es", "Spanish")):
        for column in ("context", "question"):
            texts = [row[column] for row in bank_rows(kit / "bank" / f"xquad_{language}")]
            share = 100 * sum(english.other(text) is not None for text in texts) / len(texts)
            own = sum(Spoken.of(language, []).other(text) is not None for text in texts)
            yield Line(
                f"foreign_{language}_{column}",
                f"{name} {column}s told not to be English",
                f"{share:.0f} %, told not to be {name}: {own} of {len(texts)}",
            )


def declined_rows(kit: Path) -> Line:
    """Return how many texts of people, and of recorded teachers, are taken for answers that decline."""
    human = [text for folder in sorted((kit / "tasks").iterdir()) for text in texts_of(bank_rows(folder))]
    recorded = list(texts_of(bank_rows(kit / "recorded")))
    found = [sum(refusal_in(text) is not None for text in texts) for texts in (human, recorded)]
    said = f"{found[0]} of {len(human):,} of people, {found[1]} of {len(recorded):,} recorded ones of teachers"
    return Line("declined", "texts taken for answers that decline", said)


def bank_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of the tables in a folder."""
    from pyarrow import parquet

    for path in sorted(folder.rglob("*.parquet")):
        yield from parquet.read_table(path).to_pylist()


def texts_of(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield the texts in rows."""
    return (value for row in rows for value in row.values() if isinstance(value, str))


if __name__ == "__main__":
    main()
