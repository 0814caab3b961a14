"""Put what all benchmarks measured into benchmarks/README.md, and the lines that decide something into README.md.

python -m benchmarks.evidence            # from benchmarks/results into both
python -m benchmarks.evidence --check    # do both say what benchmarks/results holds?
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.claims import RESULTS, ROOT
from benchmarks.evidence_texts import ABOUT, DECIDING
from benchmarks.figures_page import Results, between_marks

PAGE = ROOT / "benchmarks" / "README.md"
README = ROOT / "README.md"
_REACHED = {True: "reached", False: "**missed**", None: ""}


def main() -> None:
    parser = argparse.ArgumentParser(description="Put what was measured into benchmarks/README.md and README.md.")
    parser.add_argument("--check", action="store_true", help="only say whether both hold it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = {path.stem: json.loads(path.read_text()) for path in sorted(arguments.results.glob("*.json"))}
    made = {
        PAGE: between_marks(PAGE.read_text(), "figures", "\n".join(sections(results)).strip()),
        README: between_marks(README.read_text(), "results", deciding(results)),
    }
    for path, content in made.items():
        if not arguments.check:
            path.write_text(content)
        elif path.read_text() != content:
            sys.exit(f"{path} does not say what {arguments.results} holds. Run: python -m benchmarks.evidence")


def sections(results: Results) -> Iterator[str]:
    """Yield what the page says: what was missed, then each script with all its figures."""
    if nameless := results.keys() ^ ABOUT.keys():
        names = ", ".join(sorted(nameless))
        raise SystemExit(f"{names}: either no result, or nothing about it in benchmarks/evidence_texts.py.")
    yield "## Missed\n"
    yield from (
        f"- {line['what']}: {line['shown']}; to reach: {line['target']} (`{name}`)" for name, line in missed(results)
    )
    for name in ABOUT:
        yield from section(name, results[name])


def section(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is said of one script."""
    about = ABOUT[name]
    yield f"\n## {about.title}\n"
    yield f"- Command: `{result['command']}`{' with `REBASE_KIT`' if about.kit else ''}"
    machine = f"{result['cores']} cores, load {result['load'][0]:g}, Python {result['python']}, {result['system']}"
    yield f"- Made on {result['date']}, {machine}"
    yield f"- Spread: {about.spread}"
    yield f"- Does not show: {about.silent}\n"
    yield "| figure | measured | to reach | |"
    yield "|---|---|---|---|"
    for line in result["lines"]:
        yield row_of(line)


def row_of(line: Mapping[str, Any]) -> str:
    """Return a figure as a row of a table."""
    return f"| {line['what']} | {line['shown'].strip()} | {(line['target'] or '').strip()} | {_REACHED[line['met']]} |"


def missed(results: Results) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the lines that did not reach what they were to reach, with the script that they are of."""
    for name in ABOUT:
        yield from ((name, line) for line in results[name]["lines"] if line["met"] is False)


def deciding(results: Results) -> str:
    """Return the table of what a reader decides by."""
    rows = ["| | measured | to reach | | by |", "|---|---|---|---|---|"]
    for name, key in DECIDING:
        line = next((one for one in results[name]["lines"] if one["key"] == key), None)
        if line is None:
            raise SystemExit(f"{name} has no line {key!r}; name another in benchmarks/evidence_texts.py.")
        reached = _REACHED[line["met"]]
        rows.append(
            f"| {line['what']} | {line['shown'].strip()} | {(line['target'] or '').strip()} | {reached} | `{name}` |"
        )
    held = [line for result in results.values() for line in result["lines"]]
    aimed = [line for line in held if line["met"] is not None]
    dates = sorted(result["date"] for result in results.values())
    cores = " or ".join(sorted({str(result["cores"]) for result in results.values()}))
    count = sum(line["met"] is False for line in aimed)
    rows += [
        "",
        f"Of {len(held)} figures {len(aimed)} have something to reach; {count} miss it. All, with command, spread and "
        "what they do not show: [benchmarks/README.md](benchmarks/README.md). "
        f"Measured from {dates[0]} to {dates[-1]} on {cores} cores.",
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
