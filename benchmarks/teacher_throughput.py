"""Throughput at a latency of 200 ms with 100 in flight, against a bare aiohttp loop that posts the same bodies.

Both in turn, several rounds; the figure is the median of the rounds' ratios. Ours counts from the first row to the
last answer that is journalled, parsed and decided on, the window's growth from its small beginning included.
"""

import asyncio
import statistics
import time
from collections import deque

from benchmarks.asking import Validation, ask_all, opened
from benchmarks.claims import Line, at_least, parser, report
from benchmarks.loopback_server import Serving, serving
from benchmarks.made_rows import drafts, found_rows, task
from benchmarks.teacher_cpu import expect_all
from rebase_hf import Teacher
from rebase_hf.rows import RetrievedRow

TARGET = 90


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1000)
    made.add_argument("--in-flight", type=int, default=100)
    made.add_argument("--latency", type=float, default=0.2)
    made.add_argument("--rounds", type=int, default=5)
    options = made.parse_args()
    with serving(latency=options.latency, keep_bodies=True) as server:
        ours, bare = asyncio.run(rounds(server, options.rows, options.in_flight, options.rounds))
    ratios = [100 * o / b for o, b in zip(ours, bare, strict=True)]
    details = {
        "ours_rows_per_second": [round(x, 1) for x in ours],
        "bare_rows_per_second": [round(x, 1) for x in bare],
        "ratios": [round(x, 1) for x in ratios],
        "ideal_rows_per_second": options.in_flight / options.latency,
    }
    what = f"throughput at {options.latency * 1e3:g} ms, {options.in_flight} in flight, {options.rows} rows"
    figure = at_least(statistics.median(ratios), TARGET, "% of bare aiohttp")
    report("teacher_throughput", made, options, [Line("throughput", what, **figure, details=details)])


async def rounds(server: Serving, rows: int, in_flight: int, count: int) -> tuple[list[float], list[float]]:
    """Return our rows per second and the bare loop's, round by round."""
    asked_about = found_rows(rows)
    await ours(server, asked_about[: min(rows, 200)], in_flight)  # imports and caches
    server.forget()
    mine, bare = [], []
    for _ in range(count):
        mine.append(await ours(server, asked_about, in_flight))
        bodies = server.bodies()
        server.forget()
        bare.append(await floor(server.url, bodies, in_flight))
        expect_all(server.stats()["answered"], rows)
        server.forget()
    return mine, bare


async def ours(server: Serving, asked_about: list[RetrievedRow], in_flight: int) -> float:
    """Return the rows per second of the teacher."""
    async with opened(Teacher(server.url, max_concurrency=in_flight), task()) as asker:
        # As the pipeline asks: a few more drafts than slots, so that no slot waits for a prompt or for the disk.
        asked = await ask_all(asker, drafts(task(), asked_about), Validation(task(), len(asked_about)))
    expect_all(asked.outcomes["example"], len(asked_about))
    return asked.rows / asked.seconds


async def floor(url: str, bodies: list[bytes], in_flight: int) -> float:
    """Return the rows per second of a loop that posts the bodies and reads the answers as JSON, and no more."""
    import aiohttp

    left = deque(bodies)
    headers = {"Content-Type": "application/json"}

    async def work(session: aiohttp.ClientSession) -> None:
        while left:
            async with session.post(f"{url}/v1/chat/completions", data=left.popleft(), headers=headers) as response:
                await response.json()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(work(session) for _ in range(in_flight)))
        return len(bodies) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
