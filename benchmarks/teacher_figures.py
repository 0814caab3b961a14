"""Put what the teacher's benchmarks measured into docs/teacher.md: a table of benchmarks/results, and nothing else.

python -m benchmarks.teacher_figures            # from benchmarks/results into docs/teacher.md
python -m benchmarks.teacher_figures --check    # does docs/teacher.md say what benchmarks/results holds?
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.claims import RESULTS, ROOT

DOCUMENT = ROOT / "docs" / "teacher.md"
START, END = "<!-- figures:start -->", "<!-- figures:end -->"
# In the table's order; the other clients' figures are facts of an earlier occasion, measured on a machine that was
# busier than ours. Their CPU compares; their rows a second are the least that they can do.
PEERS = {
    "cpu": "curator 1.45, datatrove with checkpoints 2.1, Data Designer 3.3",
    "cpu_pipeline": "",
    "throughput": "curator 76 %, Data Designer 18 %",
    "defaults": "Data Designer 18 rows/s",
    "defaults_told": "",
    "kill": "95 to 524 re-asked after one kill; distilabel hangs",
    "changed": "curator asks 301 of 301 for one added; DataDreamer and Data Designer 1",
    "changed_best": "",
    "changed_useless": "",
    "changed_phrase": "",
    "scattered": "curator 6.9 s, Data Designer 82.6 s",
    "scattered_defaults": "",
    "full": "curator 8.1 s, 115 wasted",
    "full_defaults": "",
    "memory": "",
    "memory_gate": "",
    "memory_pipeline": "",
    "leaks": "",
}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the figures as Markdown.

    Args:
        results: The content of the result files by name.
    """
    lines = {line["key"]: line for result in results.values() for line in result["lines"]}
    if unknown := lines.keys() - PEERS.keys():
        raise SystemExit(f"{', '.join(sorted(unknown))}: name these in PEERS of benchmarks/teacher_figures.py.")
    rows = ["| what | measured | to reach | | best of the others |", "|---|---|---|---|---|"]
    for key, peers in PEERS.items():
        if (line := lines.get(key)) is not None:
            reached = {True: "reached", False: "missed", None: ""}[line["met"]]
            rows.append(f"| {line['what']} | {line['shown']} | {line['target'] or ''} | {reached} | {peers} |")
    return "\n".join([*rows, "", _made_by(results)])


def _made_by(results: dict[str, dict[str, Any]]) -> str:
    made = list(results.values())
    dates = sorted({result["date"] for result in made})
    machines = sorted({f"{result['cores']} cores, Python {result['python']}" for result in made})
    packages = sorted({f"{name} {number}" for result in made for name, number in result["packages"].items()})
    commands = ", ".join(f"`{result['command']}`" for result in made)
    return (
        f"Made by {commands}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}; {'; '.join(machines)}; "
        f"{', '.join(packages)}. The server is `benchmarks/loopback_server.py`, in a process of its own on the same "
        "cores; its counters are what is reported. The others' figures were measured on another occasion, with "
        "the same kind of server on two cores."
    )


def filled(text: str, results: dict[str, dict[str, Any]]) -> str:
    """Return a document's text with what stands between the marks made from the results."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"The document lacks {START} or, after it, {END}; put them where the table belongs.")
    return f"{before}{start}\n{table(results)}\n{end}{after}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    arguments = parser.parse_args()
    results = {path.stem: json.loads(path.read_text()) for path in sorted(arguments.results.glob("teacher_*.json"))}
    if not results:
        sys.exit(f"There are no results in {arguments.results}. Run: make bench-teacher")
    text = arguments.document.read_text()
    made = filled(text, results)
    if arguments.check and made != text:
        sys.exit(
            f"{arguments.document} does not say what {arguments.results} holds. "
            "Run: python -m benchmarks.teacher_figures"
        )
    arguments.document.write_text(made)


if __name__ == "__main__":
    main()
