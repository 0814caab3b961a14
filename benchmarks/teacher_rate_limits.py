"""500 rows against a server that turns requests away: one in five first tries at random, or all above its capacity.

With 64 in flight wanted (as the others were timed) and with the defaults. Counted on the server: what was turned away
is what was wasted.
"""

import asyncio
from typing import Any

from benchmarks.asking import Validation, ask_all, opened
from benchmarks.claims import Line, parser, report
from benchmarks.loopback_server import serving
from benchmarks.made_rows import drafts, found_rows, task
from benchmarks.teacher_cpu import expect_all
from rebase_hf import Teacher

SCATTERED_SECONDS = 5.0
FULL_SECONDS = 3.0
FULL_WASTED = 60


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=500)
    made.add_argument("--in-flight", type=int, default=64)
    made.add_argument("--latency", type=float, default=0.05)
    made.add_argument("--scattered", type=float, default=0.2)
    made.add_argument("--capacity", type=int, default=16)
    options = made.parse_args()
    asyncio.run(ask(options.latency, 50, 64, {}))  # imports and caches
    lines = []
    for key, in_flight in (("", options.in_flight), ("_defaults", None)):
        how = "defaults" if in_flight is None else f"{in_flight} in flight"
        found = asyncio.run(ask(options.latency, options.rows, in_flight, {"scattered": options.scattered}))
        lines.append(
            Line(
                "scattered" + key,
                f"{options.rows} rows, {options.scattered:.0%} of first tries 429 with Retry-After: 1, {how}",
                f"{found['seconds']:.1f} s",
                f"at most {SCATTERED_SECONDS:g} s",
                found["seconds"] <= SCATTERED_SECONDS,
                found,
            )
        )
        found = asyncio.run(ask(options.latency, options.rows, in_flight, {"capacity": options.capacity}))
        lines.append(
            Line(
                "full" + key,
                f"{options.rows} rows, server takes {options.capacity}, 429 above, {how}",
                f"{found['seconds']:.1f} s, {found['wasted']} wasted",
                f"at most {FULL_SECONDS:g} s, {FULL_WASTED} wasted",
                found["seconds"] <= FULL_SECONDS and found["wasted"] <= FULL_WASTED,
                found,
            )
        )
    report("teacher_rate_limits", made, options, sorted(lines, key=lambda line: line.what))


async def ask(latency: float, rows: int, in_flight: int | None, limits: dict[str, Any]) -> dict[str, Any]:
    """Ask about all rows, as the pipeline does, and return what the server saw."""
    with serving(latency=latency, **limits) as server:
        async with opened(Teacher(server.url, max_concurrency=in_flight), task()) as asker:
            asked = await ask_all(asker, drafts(task(), found_rows(rows)), Validation(task(), rows))
        stats = server.stats()
    expect_all(asked.outcomes["example"], rows)
    expect_all(stats["different"], rows)
    return {
        "seconds": round(asked.seconds, 2),
        "wasted": stats["requests"] - rows,
        "refused": stats["refused"],
        "most_at_once": stats["most_busy"],
    }


if __name__ == "__main__":
    main()
