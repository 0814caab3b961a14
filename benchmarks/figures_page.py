"""Putting what benchmarks measured into a page: a table of the results, and nothing else.

The page holds the table between two marks; `--check` says whether it holds what the results say.
"""

import argparse
import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims import RESULTS, ROOT

MARKS = "<!-- {0}:start -->", "<!-- {0}:end -->"
Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class FiguresPage:
    """A page with figures.

    Attributes:
        name: Of the module that fills it, and the first word of the results' names.
        document: The page, within the repository.
        rows: The keys of the lines in the table's order; `vectors.open` is the line `open` of the result
            `index_vectors`, where several results have one of that key.
        circumstances: What a reader must know beside.
    """

    name: str
    document: str
    rows: Collection[str]
    circumstances: str

    def table(self, results: Results) -> str:
        """Return the figures as Markdown.

        Args:
            results: The content of the result files by name.
        """
        held = ((name, line) for name, result in results.items() for line in result["lines"])
        lines = {self._row(name, line["key"]): line for name, line in held}
        if unknown := lines.keys() - set(self.rows):
            raise SystemExit(f"{', '.join(sorted(unknown))}: name these in benchmarks/{self.name}_figures.py.")
        rows = ["| what | measured | to reach | |", "|---|---|---|---|"]
        for key in self.rows:
            if (line := lines.get(key)) is not None:
                reached = {True: "reached", False: "missed", None: ""}[line["met"]]
                rows.append(f"| {line['what']} | {line['shown']} | {line['target'] or ''} | {reached} |")
        return "\n".join([*rows, "", f"{made_by(results)} {self.circumstances}".rstrip()])

    def _row(self, result: str, key: str) -> str:
        full = f"{result.removeprefix(f'{self.name}_')}.{key}"
        return full if full in self.rows else key

    def filled(self, text: str, results: Results) -> str:
        """Return a document's text with what stands between the marks made from the results."""
        return between_marks(text, "figures", self.table(results))

    def pictures(self, results: Results) -> dict[str, str]:
        """Return the pictures that are made from the results too, by their place beside the document."""
        return {}

    def main(self) -> None:
        """Run the command line."""
        parser = argparse.ArgumentParser(description=f"Put what was measured into {self.document}.")
        parser.add_argument("--check", action="store_true", help="only say whether the page holds it")
        parser.add_argument("--results", type=Path, default=RESULTS)
        parser.add_argument("--document", type=Path, default=ROOT / self.document)
        arguments = parser.parse_args()
        files = sorted([*arguments.results.glob(f"{self.name}.json"), *arguments.results.glob(f"{self.name}_*.json")])
        results = {path.stem: json.loads(path.read_text()) for path in files}
        if not results:
            sys.exit(f"There are no results in {arguments.results}. Run: make bench-{self.name}")
        made = {arguments.document: self.filled(arguments.document.read_text(), results)}
        made |= {arguments.document.parent / name: drawn for name, drawn in self.pictures(results).items()}
        for path, content in made.items():
            if not arguments.check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
            elif not path.exists() or path.read_text() != content:
                sys.exit(
                    f"{path} does not say what {arguments.results} holds. "
                    f"Run: python -m benchmarks.{self.name}_figures"
                )


def between_marks(text: str, name: str, content: str) -> str:
    """Return a document's text with `content` between the marks of this name.

    Raises:
        SystemExit: It lacks them.
    """
    start, end = (mark.format(name) for mark in MARKS)
    before, first, rest = text.partition(start)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise SystemExit(f"The document lacks {start} or, after it, {end}; put them where the table belongs.")
    return f"{before}{start}\n{content}\n{end}{after}"


def made_by(results: Results) -> str:
    """Return by what, when and with what results were made, as a sentence."""
    made = list(results.values())
    dates = sorted({result["date"] for result in made})
    machines = sorted({f"{result['cores']} cores, Python {result['python']}" for result in made})
    packages = sorted({f"{name} {number}" for result in made for name, number in result["packages"].items()})
    commands = ", ".join(f"`{result['command']}`" for result in made)
    return (
        f"Made by {commands}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}; {'; '.join(machines)}; "
        f"{', '.join(packages)}."
    )
