"""Rows that were retrieved for a task, drawn at random, the official list beside ours, to be read.

Half of them are of the first fifth of a list.

python -m benchmarks.retrieval_rows boolq gsm8k --output read    # read/boolq.md, read/gsm8k.md
"""

import argparse
import html
import random
from pathlib import Path

from benchmarks.asking import quiet
from benchmarks.kit_data import all_tasks, bank_index, kit_task
from benchmarks.linear_student import RememberingEncoder, scratch_folder
from benchmarks.retrieval import BANK_ROWS
from benchmarks.retrieval_lists import LISTS, taken_list
from benchmarks.retrieval_measures import dataset_name
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.rows import RetrievedRow
from rebase_hf.task import Task


def main() -> None:
    """Write a page a task."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("tasks", nargs="*", help="tasks of the kit; all where none is named")
    made.add_argument("--output", type=Path, default=Path("runs/retrieval-rows"), help="folder to write to")
    made.add_argument("--rows", type=int, default=20, help="rows drawn of each list")
    made.add_argument("--count", type=int, default=1000, help="rows of each list that they are drawn from")
    made.add_argument("--chars", type=int, default=300, help="characters shown of a cell")
    options = made.parse_args()
    encoder = RememberingEncoder()
    index = bank_index(scratch_folder(), encoder, BANK_ROWS)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.tasks or all_tasks():
        task = kit_task(name)
        guard = EvaluationGuard(task, task.evaluation_rows())
        with quiet("rebase_hf"):
            lists = [taken_list(task, index, guard, how, options.count).rows for how in LISTS.values()]
        drawn = [drawn_rows(rows, options.rows, name) for rows in lists]
        path = options.output / f"{name}.md"
        path.write_text(page(task, drawn, chars=options.chars))
        print(path, flush=True)
        encoder.keep()


def drawn_rows(rows: list[RetrievedRow], count: int, seed: str) -> list[tuple[int, RetrievedRow]]:
    """Return some of the rows with their ranks, in their order: half of them from the first fifth."""
    chance, head = random.Random(seed), len(rows) // 5
    first = chance.sample(range(head), min(count // 2, head))
    rest = chance.sample(range(head, len(rows)), min(count - len(first), len(rows) - head))
    return [(rank + 1, rows[rank]) for rank in sorted(first + rest)]


def page(task: Task, lists: list[list[tuple[int, RetrievedRow]]], *, chars: int) -> str:
    """Return the lists beside each other as Markdown."""
    example = task.examples[0]
    lines = [f"# {task.name}", "", task.instruction, ""]
    lines += [f"- {name}: {_cut(text, chars)}" for name, text in example.items()]
    lines += ["", f"| {' | '.join(LISTS)} |", "|---" * len(LISTS) + "|"]
    for place in range(max(map(len, lists))):
        cells = [_shown(*rows[place], chars) if place < len(rows) else "" for rows in lists]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _shown(rank: int, row: RetrievedRow, chars: int) -> str:
    parts = [f"**{rank}. {dataset_name(row)}** {row.score:.3f}"]
    won = {column: part for part, column in row.columns.items()}
    for name, text in row.source.cells.items():
        mark = f" ({won[name]})" if name in won else ""
        parts.append(f"*{html.escape(name)}*{mark}: {_cut(text, chars)}")
    return "<br>".join(parts)


def _cut(text: str, chars: int) -> str:
    plain = " ".join(text.split())
    return html.escape(plain if len(plain) <= chars else f"{plain[:chars]}...").replace("|", "\\|")


if __name__ == "__main__":
    main()
