"""Put what `benchmarks.scale_stages` measured, and what follows for 10^8 and 10^9 rows, into docs/scale.md.

python -m benchmarks.scale_figures                               # from benchmarks/results into docs/scale.md
python -m benchmarks.scale_figures --check                       # does docs/scale.md say what the results hold?
python -m benchmarks.scale_figures --assume core_hour_usd=0.02 cores=2000    # show the costs by other assumptions
"""

import argparse
import json
import sys

from benchmarks.claims import RESULTS
from benchmarks.figures_page import FiguresPage, Results
from benchmarks.scale_costs import ASSUMPTIONS, Stages, assumptions, costs

SIZES = {"10^8 rows": 10**8, "10^9 rows": 10**9}
KEYS = ("read", "fp32", "int8", "static", "graph", "words", "rows", "rest", "merge", "search", "bytes")


class ScalePage(FiguresPage):
    """The page's figures: what was measured, what was assumed, what follows."""

    def table(self, results: Results) -> str:
        """Return the three tables as Markdown."""
        (result,) = results.values()
        measured = FiguresPage.table(self, results)
        return "\n\n".join(
            [measured, "Assumed:", _assumed(), "What follows:", costs_table(Stages.of(result), assumptions({}))]
        )


def costs_table(stages: Stages, assumed: dict[str, float]) -> str:
    """Return what indexes of the sizes cost, as Markdown."""
    columns = {name: costs(stages, assumed, rows) for name, rows in SIZES.items()}
    rows = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for what in next(iter(columns.values())):
        rows.append(f"| {what} | {' | '.join(column[what] for column in columns.values())} |")
    return "\n".join(rows)


def _assumed() -> str:
    held = json.loads(ASSUMPTIONS.read_text())
    rows = ["| `--assume` | | value |", "|---|---|---|"]
    for name, about in held.items():
        value = "" if about["value"] is None else f"{about['value']:,}"
        rows.append(f"| `{name}` | {about['what']} | {value} |")
    return "\n".join(rows)


PAGE = ScalePage("scale", "docs/scale.md", KEYS, "")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--assume", nargs="+", metavar="NAME=VALUE")
    given, rest = parser.parse_known_args()
    if not given.assume:
        PAGE.main()
        return
    if rest:
        sys.exit(f"{' '.join(rest)}: --assume only shows a table, and takes nothing beside it.")
    changed = {name: float(value) for name, _, value in (pair.partition("=") for pair in given.assume)}
    result = json.loads((RESULTS / "scale_stages.json").read_text())
    print(costs_table(Stages.of(result), assumptions(changed)))


if __name__ == "__main__":
    main()
