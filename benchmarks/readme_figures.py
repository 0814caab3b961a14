"""Put what `make bench-demo` measured into README.md: its table and one row, and nothing that it did not measure.

python benchmarks/readme_figures.py            # from runs/bench-demo, through benchmarks/demo.json, into README.md
python benchmarks/readme_figures.py --check    # does README.md say what benchmarks/demo.json holds?
"""

import argparse
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "benchmarks" / "demo.json"
README = ROOT / "README.md"
NAMES = {
    "student": "student on the rebased data",
    "few_examples": "the same student, few examples alone",
    "examples_and_phrases": "the same student, few examples and label phrases",
    "majority": "majority label",
}


def measure(run: Path) -> dict[str, Any]:
    """Return the figures of a run folder."""
    report = json.loads((run / "report.json").read_text())
    first = json.loads((run / "rows.jsonl").read_text().splitlines()[0])
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=str(run / "data" / "train.parquet"), split="train")
    output = report["task"]["output"]
    label = rows.features[output].int2str(rows[0][output])
    example = {name: rows[0][name] for name in report["task"]["inputs"]} | {output: label}
    return {
        "command": "make bench-demo",
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "scores": {"student": report["student"], **report["baselines"]},
        "comparison": report["comparison"],
        "counts": {k: report[k] for k in ("retrieved", "dropped_before", "asked", "outputs", "dropped", "examples")},
        "sources": report["sources"],
        "evaluation": report["evaluation"],
        "row": {"source": first["source"], "cells": first["cells"], "example": example},
    }


def table(figures: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    metric, comparison = figures["comparison"]["metric"], figures["comparison"]
    lines = [f"| | {metric}, mean ± spread over {len(comparison['seeds'])} seeds |", "|---|---|"]
    for name, text in NAMES.items():
        if name in figures["scores"]:
            scores = figures["scores"][name]
            spread = f" ± {scores[metric + '_std']:.3f}" if scores.get(metric + "_std") is not None else ""
            lines.append(f"| {text} | {scores[metric]:.3f}{spread} |")
    ours = figures["scores"]["student"][metric]
    against = [
        f"{abs(ours - theirs):.3f} {'above' if ours >= theirs else 'below'} {text}"
        for name, text in NAMES.items()
        if name != "student" and (theirs := figures["scores"].get(name, {}).get(metric)) is not None
    ]
    lines += ["", f"The student is {', '.join(against)}."]
    lost = {**figures["counts"]["dropped_before"], **figures["counts"]["dropped"]}
    lines += [
        "",
        f"{figures['evaluation']['rows']} held-out rows; {comparison['train_rows']} training rows for the student and "
        f"{comparison['few_examples']} for the few-examples student, {comparison['max_pairs']} training pairs each; "
        f"{figures['counts']['examples']} examples from {len(figures['sources'])} sources, out of "
        f"{figures['counts']['retrieved']} retrieved rows ("
        + ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items(), key=lambda x: (-x[1], x[0])))
        + f"). Made by `{figures['command']}` on {figures['date']}, {figures['cores']} cores.",
    ]
    return "\n".join(lines)


def row(figures: dict[str, Any]) -> str:
    """Return one retrieved row and what became of it, as Markdown."""
    shown, source = figures["row"], figures["row"]["source"]
    provenance = {key: source[key] for key in ("dataset", "split", "row", "license")}
    lines = ["```text", f"retrieved  {json.dumps(shown['cells'], ensure_ascii=False)}"]
    lines += [f"example    {json.dumps(shown['example'], ensure_ascii=False)}"]
    lines += [f"from       {json.dumps(provenance, ensure_ascii=False)}", "```"]
    return "\n".join(lines)


def filled(text: str, figures: dict[str, Any]) -> str:
    """Return README's text with its two marked parts made from the figures."""
    for name, content in (("table", table(figures)), ("row", row(figures))):
        start, end = f"<!-- {name} by benchmarks/readme_figures.py -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n{content}\n{end}{after}"
    return text


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "bench-demo")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check:
        FIGURES.write_text(json.dumps(measure(arguments.run), indent=2, ensure_ascii=False) + "\n")
    figures = json.loads(FIGURES.read_text())
    text = README.read_text()
    made = filled(text, figures)
    if arguments.check and made != text:
        sys.exit("README.md does not say what benchmarks/demo.json holds. Run: python benchmarks/readme_figures.py")
    README.write_text(made)


if __name__ == "__main__":
    main()
