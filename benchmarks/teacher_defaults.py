"""`generate(task, index, url)` with nothing tuned, and a server that takes 64 at a time and turns away what is above.

The figure is what the server answered a second from 5 s after the first answer on, against the 64 / latency that it
can give; once where /info tells its capacity and once where only its refusals do.
"""

import tempfile
from bisect import bisect_left
from pathlib import Path
from typing import Any

from benchmarks.asking import own_home
from benchmarks.claims import Line, at_least, parser, report
from benchmarks.loopback_server import Serving, serving
from benchmarks.made_rows import TASK, made_index, made_rows
from benchmarks.teacher_cpu import expect_all
from rebase_hf import RowIndex, generate

TARGET = 85


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=5000)
    made.add_argument("--capacity", type=int, default=64)
    made.add_argument("--latency", type=float, default=0.2)
    made.add_argument("--after", type=float, default=5.0, help="seconds that are not counted")
    options = made.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        index = made_index(Path(folder), made_rows(options.rows))
        for key, what, told in (
            ("defaults", "found out by refusals", {}),
            ("defaults_told", "told by /info", {"tells_capacity": True}),
        ):
            with serving(latency=options.latency, capacity=options.capacity, **told) as server:
                details = measure(server, index, options.rows, options.after, options.capacity / options.latency)
            what = f"defaults, a server that takes {options.capacity} ({what}), after {options.after:g} s"
            lines.append(
                Line(key, what, **at_least(details["share"], TARGET, "% of what it can give"), details=details)
            )
    report("teacher_defaults", made, options, lines)


def measure(server: Serving, index: RowIndex, rows: int, after: float, ideal: float) -> dict[str, Any]:
    """Run the pipeline and return what the server saw."""
    with own_home():
        expect_all(sum(1 for _ in generate(TASK, index, server.url, num_examples=rows)), rows)
    answered = server.timeline()
    # The last second is the run's end, when ever less is left to ask.
    first, last = bisect_left(answered, answered[0] + after), bisect_left(answered, answered[-1] - 1.0)
    if answered[-1] - answered[0] < after + 2.0:
        raise RuntimeError(f"all was answered within {answered[-1] - answered[0]:.1f} s: too few rows to tell")
    rate = (last - first) / (answered[last] - answered[first])
    return {
        "share": round(100 * rate / ideal, 1),
        "rows_per_second": round(rate, 1),
        "rows_per_second_from_the_start": round(len(answered) / (answered[-1] - answered[0]), 1),
        "ideal_rows_per_second": ideal,
        "refused": server.stats()["refused"],
        "most_at_once": server.stats()["most_busy"],
    }


if __name__ == "__main__":
    main()
