"""Put what the retrieval benchmark measured into docs/retrieval.md.

python -m benchmarks.retrieval_figures            # from benchmarks/results into docs/retrieval.md
python -m benchmarks.retrieval_figures --check    # does docs/retrieval.md say what they hold?
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.figures_page import FiguresPage, Results, made_by

Lines = Sequence[Mapping[str, Any]]
Counted = Mapping[str, Any]
LISTS = ("official", "ours")


def _share(key: str) -> Callable[[Counted], str]:
    return lambda one: f"{one.get(key, 0):.1%}"


def _number(key: str, digits: int) -> Callable[[Counted], str]:
    return lambda one: f"{one[key]:.{digits}f}"


# What is shown of each list, in two tables: each wants no more columns than a page has room for.
SPREAD: dict[str, Callable[[Counted], str]] = {
    "datasets": _number("sources", 0),
    "effective": _number("effective", 1),
    "whole rows repeated": _share("near"),
    "inputs repeated": _share("same_input"),
    "junk": _share("junk"),
    "one cell for both": _share("same_cell"),
    "overlap": lambda one: f"{one['overlap_guard']:.0f} / {one['overlap_equal']:.0f}",
}
RELATED: dict[str, Callable[[Counted], str]] = {
    "of the task's kind": _share("family"),
    "similarity": _number("similarity", 3),
    "coverage": _number("coverage", 3),
    "CPU seconds": _number("seconds", 2),
}


class RetrievalPage(FiguresPage):
    """The page's figures: what was asked for, then each task."""

    def table(self, results: Results) -> str:
        """Return the figures as Markdown."""
        lines = results["retrieval"]["lines"]
        tasks = [line for line in lines if "lists" in line["details"]]
        parts = [asked_for([line for line in lines if line not in tasks]), means(tasks)]
        parts += [by_task(tasks, SPREAD), by_task(tasks, RELATED), made_by(results)]
        return "\n\n".join(parts)


def asked_for(lines: Lines) -> str:
    """Return the figures that have a target, as a table."""
    rows = ["| what | measured | to reach | |", "|---|---|---|---|"]
    for line in lines:
        reached = {True: "reached", False: "missed", None: ""}[line["met"]]
        rows.append(f"| {line['what']} | {line['shown']} | {line['target'] or ''} | {reached} |")
    of = {line["key"]: line["details"] for line in lines}
    told = (
        f"{of['sources']['tasks_reaching_it']} of {of['sources']['tasks']} tasks reach three times the sources; the "
        f"datasets are less often of the task's kind for {of['family']['tasks_lower']} tasks, the rows less similar "
        f"for {of['similarity']['tasks_lower']}, the nearest row farther for {of['coverage']['tasks_lower']}. Of the "
        f"official rows {of['junk']['official']:.1f} % were found by a junk cell. Searched: "
        f"{of['as_published']['index_rows']:,} rows, {'all' if of['as_published']['exhaustive'] else 'not all'} of "
        "them scored for each task."
    )
    return "\n".join([*rows, "", told])


def means(tasks: Lines) -> str:
    """Return the means over tasks of what was counted."""
    columns = SPREAD | RELATED
    rows = [f"| mean of {len(tasks)} tasks | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name in LISTS:
        counted = [line["details"]["lists"][name] for line in tasks]
        keys = dict.fromkeys(key for one in counted for key in one)
        mean = {key: sum(one.get(key, 0) for one in counted) / len(counted) for key in keys}
        rows.append(f"| {name} | {' | '.join(tell(mean) for tell in columns.values())} |")
    return "\n".join(rows)


def by_task(tasks: Lines, columns: Mapping[str, Callable[[Counted], str]]) -> str:
    """Return columns for each task, the official figure and ours in one cell."""
    rows = [f"| official → ours | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for line in tasks:
        lists = [line["details"]["lists"][name] for name in LISTS]
        cells = [" → ".join(tell(one) for one in lists) for tell in columns.values()]
        rows.append(f"| {line['key']} | {' | '.join(cells)} |")
    return "\n".join(rows)


PAGE = RetrievalPage("retrieval", "docs/retrieval.md", {}, "")

if __name__ == "__main__":
    PAGE.main()
