"""How a question with its passages, and a rationale with its answer, are written: alike at training and inference.

KARD's official code writes them otherwise in each place (another prompt, a tab for a blank between passages), so that
a student is asked what it was not taught. Whoever trains and whoever predicts calls these.
"""

import re
from collections.abc import Mapping, Sequence

from rebase_hf.quality.checks import settle_label
from rebase_hf.rows import SourceRow
from rebase_hf.task import Task

MARKER = "Answer:"
# Characters of one passage that a student reads: with one to three of them a question stays within 512 tokens.
PASSAGE_CHARS = 800
_STRAY = re.compile(r"[\s\"'`*.]+$|^[\s\"'`*]+")


def passage_text(row: SourceRow, chars: int = PASSAGE_CHARS) -> str:
    """Return a retrieved row as a passage: its cells, the longest text first to be kept, in the source's order.

    What rows made by this library say of where they come from (`provenance.*`, `sources`) is not to be read.
    """
    made_here = any(name.startswith("provenance.") for name in row.cells)
    texts = {
        name: " ".join(text.split())
        for name, text in row.cells.items()
        if text.strip() and not (made_here and (name == "sources" or name.startswith("provenance.")))
    }
    kept: set[str] = set()
    left = chars
    for name in sorted(texts, key=lambda name: -len(texts[name])):
        if left > 0:
            kept.add(name)
            left -= len(texts[name]) + 1
    return " ".join(text for name, text in texts.items() if name in kept)[:chars].strip()


def grounded_input(task: Task, fields: Mapping[str, str], passages: Sequence[str]) -> str:
    """Return what a student reads: the instruction, the inputs by name, the labels, and the passages one a line."""
    lines = [task.instruction, ""]
    lines += [f"{name}: {' '.join(fields[name].split())}" for name in task.inputs]
    if task.labels:
        lines.append(f"Options: {', '.join(task.labels)}")
    lines += [f"Knowledge: {' '.join(passage.split())}" for passage in passages]
    return "\n".join([*lines, "Explanation:"])


def grounded_target(rationale: str, output: str) -> str:
    """Return what a student learns to write: the rationale, if there is one, then the answer behind its marker."""
    return f"{' '.join(rationale.split())}\n{MARKER} {output}".lstrip()


def read_answer(task: Task, text: str) -> str | None:
    """Return the answer in what a student or a teacher wrote, or None where it gives none.

    It stands behind the last marker, on that line. A label counts in whatever case or quotes, and nothing else does;
    the official code counts the last character of the text, whatever it is.
    """
    _, marker, said = text.rpartition(MARKER)
    if not marker:
        return None
    said = _STRAY.sub("", said.strip().partition("\n")[0]).strip()
    if not task.labels:
        return said or None
    label = settle_label(task, said)
    return label if label in task.labels else None
