"""CPU per row: 64 in flight, no latency, a durable journal, every answer validated.

Two lines. The teacher: prompts rendered, asked, journalled, parsed, decided by the online gate. The whole pipeline:
`rebase_hf.generate`, with retrieval, row checks and decisions on disk; what a run of few rows takes is subtracted, so
that opening the index and ranking its rows do not count (PEERS.md timed the others in this way).
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.asking import Validation, ask_all, opened, own_home
from benchmarks.claims import Line, at_most, parser, report
from benchmarks.loopback_server import Serving, serving
from benchmarks.made_rows import TASK, drafts, found_rows, made_index, made_rows, task
from rebase_hf import RowIndex, Teacher
from rebase_hf.pipeline import Run, make_plan

TARGET = 1.2
WARM_UP = 200


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=3000)
    made.add_argument("--in-flight", type=int, default=64)
    made.add_argument("--rounds", type=int, default=3)
    options = made.parse_args()
    with serving() as server:
        teacher = Teacher(server.url, max_concurrency=options.in_flight)
        asked = asyncio.run(teacher_rounds(teacher, options.rows, options.in_flight, options.rounds))
        with tempfile.TemporaryDirectory() as folder:
            index = made_index(Path(folder), made_rows(options.rows + WARM_UP))
            run = [pipeline_round(teacher, index, options.rows, server) for _ in range(options.rounds)]
    lines = [
        Line(
            "cpu",
            "CPU per row, teacher: render, ask, journal, parse, gate",
            **at_most(statistics.median(asked), TARGET, "ms"),
            details={"rounds": [round(figure, 3) for figure in asked], "rows": options.rows},
        ),
        Line(
            "cpu_pipeline",
            "CPU per row, all of generate(), without opening and ranking the index",
            shown=f"{statistics.median(r['marginal'] for r in run):.2f} ms",
            details={"rounds": run, "rows": options.rows},
        ),
    ]
    report("teacher_cpu", made, options, lines)


async def teacher_rounds(teacher: Teacher, rows: int, in_flight: int, rounds: int) -> list[float]:
    """Return milliseconds per row of each round."""
    asked_about, warm_up = found_rows(rows, start=WARM_UP), found_rows(WARM_UP)
    found = []
    for _ in range(rounds):
        async with opened(teacher, task()) as asker:
            await ask_all(asker, drafts(task(), warm_up), Validation(task(), WARM_UP), workers=in_flight)
            asked = await ask_all(asker, drafts(task(), asked_about), Validation(task(), rows), workers=in_flight)
        expect_all(asked.outcomes["example"], rows)
        found.append(asked.cpu / rows * 1e3)
    return found


def pipeline_round(teacher: Teacher, index: RowIndex, rows: int, server: Serving) -> dict[str, Any]:
    """Return milliseconds per row of a run, with and without what a run of few rows takes."""
    few = pipeline(teacher, index, WARM_UP)[0]
    server.forget()
    many, usage = pipeline(teacher, index, rows + WARM_UP)
    expect_all(server.stats()["answered"], rows + WARM_UP)
    return {
        "marginal": round((many - few) / rows * 1e3, 3),
        "all": round(many / (rows + WARM_UP) * 1e3, 3),
        "retrieval_and_rendering_wall": round(usage["seconds"]["retrieve"] / (rows + WARM_UP) * 1e3, 3),
    }


def pipeline(teacher: Teacher, index: RowIndex, count: int) -> tuple[float, dict[str, Any]]:
    """Return the seconds of CPU of a run in a home of its own, and what it used."""
    with own_home():
        began = time.process_time()
        run = Run(make_plan(TASK, index, teacher, num_examples=count))
        expect_all(sum(1 for _ in run.examples()), count)
        return time.process_time() - began, run.usage()


def expect_all(found: int, wanted: int) -> None:
    """Raise where rows are missing: a figure of fewer rows is none."""
    if found != wanted:
        raise RuntimeError(f"{found} of {wanted} rows came out")


if __name__ == "__main__":
    main()
