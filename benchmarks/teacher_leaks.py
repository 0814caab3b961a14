"""10,000 faulty answers (error pages, cut bodies, resets, drips, ...): then open files, threads and sockets.

Three figures of each: before the teacher was opened, while it was still open after the faults, and when it was closed.
"""

import asyncio
import gc
import os
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.asking import Validation, ask_all, opened
from benchmarks.claims import Line, parser, report
from benchmarks.loopback_server import Serving, serving
from benchmarks.made_rows import drafts, found_rows, task
from rebase_hf import Teacher
from rebase_hf.teacher.asking import Asker

BATCH = 1000
# Of the teacher itself: journal, its log and index, and the like.
FEW = 16


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--faults", type=int, default=10_000)
    made.add_argument("--in-flight", type=int, default=64)
    made.add_argument(
        "--timeout", type=float, default=1.0, help="the teacher's deadline: so long a drip is waited for"
    )
    options = made.parse_args()
    with serving() as server:
        asyncio.run(some(server, 50))  # imports, caches, and what the interpreter opens once
        before = held()
    with serving(faults=3) as server:
        after, seen = asyncio.run(faulty(server, options.faults, options.in_flight, options.timeout))
        closed = held()
        seen["connections_at_the_server_when_closed"] = server.settled()["connections"]
    details = {"before": before, "after_the_faults": after, "closed": closed, **seen}
    line = Line(
        "leaks",
        f"open files, threads, sockets after {seen['faulty']:,} faulty answers",
        ", ".join(f"{before[name]} {name} before, {after[name]} after, {closed[name]} closed" for name in before),
        f"closed as before; while open at most {options.in_flight} connections",
        closed == before and after["sockets"] <= before["sockets"] + options.in_flight + FEW,
        details,
    )
    report("teacher_leaks", made, options, [line])


async def some(server: Serving, rows: int) -> None:
    """Ask about a few rows."""
    async with opened(Teacher(server.url), task()) as asker:
        await ask_all(asker, drafts(task(), found_rows(rows)), Validation(task(), rows))


async def faulty(
    server: Serving, faults: int, in_flight: int, timeout: float
) -> tuple[dict[str, int], dict[str, Any]]:
    """Ask until the server has given so many faulty answers; return what is held then, and what the server saw."""
    outcomes: Counter[str] = Counter()
    start = 0
    teacher = Teacher(server.url, max_concurrency=in_flight, timeout=timeout)
    async with opened(teacher, task()) as asker:
        while server.stats()["faulty"] < faults:
            outcomes += await batch(asker, start)
            start += BATCH
        await asyncio.sleep(0.5)  # what is being closed is closed
        stats = server.stats()
        names = ("requests", "answered", "faulty", "faults", "connections")
        tasks = len(asyncio.all_tasks())
        return held(), {name: stats[name] for name in names} | {"outcomes": dict(outcomes), "asyncio_tasks": tasks}


async def batch(asker: Asker, start: int) -> Counter[str]:
    """Return how so many more rows ended."""
    checks = Validation(task(), BATCH)
    return (await ask_all(asker, drafts(task(), found_rows(BATCH, start=start)), checks)).outcomes


def held() -> dict[str, int]:
    """Return what this process holds."""
    gc.collect()
    files = []
    for name in os.listdir("/proc/self/fd"):
        try:
            files.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # the listing's own
            continue
    sockets = sum(file.startswith("socket:") for file in files)
    return {"files": len(files) - sockets, "threads": len(list(Path("/proc/self/task").iterdir())), "sockets": sockets}


if __name__ == "__main__":
    main()
