"""Memory over 100,000 rows: what the process holds after 5,000 and at the end, each part in a process of its own.

The teacher alone (rendered, asked, journalled, parsed), the same with the online gate, which must remember what it has
accepted, and all of `generate()`.
"""

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.asking import Validation, ask_all, opened, own_home
from benchmarks.claims import ROOT, Line, at_most, parser, report
from benchmarks.loopback_server import serving
from benchmarks.made_rows import TASK, drafts, found_rows, opened_index, task
from benchmarks.teacher_cpu import expect_all
from rebase_hf import Teacher, generate
from rebase_hf.rows import Draft

TARGET = 50
PARTS = {
    "memory": "teacher: render, ask, journal, parse",
    "memory_gate": "teacher and online gate",
    "memory_pipeline": "all of generate()",
}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=100_000)
    made.add_argument("--first", type=int, default=5000, help="rows after which memory should not grow")
    made.add_argument("--in-flight", type=int, default=64)
    made.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    made.add_argument("--part", choices=PARTS, help="measure this part in this process (what the script itself calls)")
    options = made.parse_args()
    if options.part:
        print(json.dumps(measure(options.part, options.rows, options.first, options.in_flight)))
        return
    lines = []
    for part in options.parts:
        command = [sys.executable, "-m", "benchmarks.teacher_memory", "--part", part, "--rows", str(options.rows)]
        command += ["--first", str(options.first), "--in-flight", str(options.in_flight)]
        told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        sizes = json.loads(told.splitlines()[-1])
        what = f"RSS growth from row {options.first:,} to {options.rows:,}, {PARTS[part]}"
        figure = at_most(sizes[-1] - sizes[0], TARGET, "MB", digits=0)
        if part == "memory_gate":  # tells where the pipeline's memory is; no claim is made of it
            figure = {"shown": figure["shown"]}
        lines.append(Line(part, what, **figure, details={"rss_mb": sizes}))
    report("teacher_memory", made, options, lines)


def measure(part: str, rows: int, first: int, in_flight: int) -> list[float]:
    """Return the megabytes that this process holds after the first rows, at every tenth after that, and at the end."""
    sizes: list[float] = []
    marks = iter([first, *(first + (rows - first) * tenth // 10 for tenth in range(1, 10)), rows])
    mark = next(marks)

    def passed(row: int) -> None:
        nonlocal mark
        if row >= mark:
            mark = next(marks, rows + 1)
            sizes.append(resident())

    with serving() as server, own_home() as home:
        teacher = Teacher(server.url, max_concurrency=in_flight)
        if part == "memory_pipeline":
            # Made by another process: what building an index takes is no part of this.
            command = [sys.executable, "-m", "benchmarks.made_rows", str(home), str(rows)]
            subprocess.run(command, cwd=ROOT, check=True)
            for row, _ in enumerate(generate(TASK, opened_index(home), teacher, num_examples=rows), start=1):
                passed(row)
        else:
            asyncio.run(ask(teacher, rows, in_flight, part == "memory_gate", passed))
        passed(rows)
        expect_all(server.stats()["different"], rows)
    return sizes


async def ask(teacher: Teacher, rows: int, in_flight: int, gate: bool, passed: Callable[[int], None]) -> None:
    """Ask about all rows, made only when their turn comes."""

    def made() -> Iterator[Draft]:
        for row in range(rows):
            passed(row)
            yield from drafts(task(), found_rows(1, start=row))

    checks = Validation(task(), rows, gate=gate)
    async with opened(teacher, task()) as asker:
        expect_all((await ask_all(asker, made(), checks, workers=in_flight)).outcomes["example"], rows)


def resident() -> float:
    """Return the megabytes of memory that this process holds."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return round(int(status.split("VmRSS:")[1].split()[0]) / 1024, 1)


if __name__ == "__main__":
    main()
