"""How varied a run's texts are beside others: rows as retrieved, evaluation texts, other runs; at one number each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rebase_hf.errors import TaskError
from rebase_hf.public_text import shorten
from rebase_hf.publish.finished_run import FinishedRun, address
from rebase_hf.publish.run_files import intact
from rebase_hf.quality.diversity import sample_rows
from rebase_hf.quality.diversity_text import distinct_n, self_bleu, unique_share
from rebase_hf.quality.duplicates import words
from rebase_hf.run_folder import read_task

FEWEST, MOST = 20, 200
_CHARS = 400


@dataclass(frozen=True, slots=True)
class TextsCompared:
    """Sets of texts by how varied they are.

    Attributes:
        rows: How many texts of each it was taken of.
        values: Self-BLEU-4, distinct-2 and the share of unique texts of each set, by its name, the examples first.
    """

    rows: int
    values: Mapping[str, Mapping[str, float]]


MEASURES = {
    "self-BLEU-4": "lower is more varied",
    "distinct-2": "higher is more varied",
    "unique texts": "ROUGE-L below 0.7 with all before; higher is more varied",
}


def compare_texts(folder: FinishedRun, against: Sequence[str | Path] = ()) -> TextsCompared | None:
    """Return how varied a run's texts are beside others; None where there is nothing to compare, or too little.

    Args:
        against: Folders of other runs, such as one of method `fewgen`.

    Raises:
        PublishError: One of them is no finished run.
    """
    sets = {"these examples": [folder.task.input_text(row) for _, row in folder.rows()]}
    sets["rows as retrieved"] = [" ".join(cells.values()) for cells in folder.retrieved_cells.values()]
    sets["evaluation texts"] = _evaluation_texts(folder)
    for path in against:
        other = FinishedRun.open(path)
        sets[f"{other.path.name} ({other.method})"] = [other.task.input_text(row) for _, row in other.rows()]
    large = {name: texts for name, texts in sets.items() if len(texts) >= FEWEST}
    if len(large) < 2 or "these examples" not in large:
        return None
    rows = min(MOST, *(len(texts) for texts in large.values()))
    seed = int(folder.report.get("seed") or 0)
    return TextsCompared(rows, {name: _measured(texts, rows, seed) for name, texts in large.items()})


def copied_shares(folder: FinishedRun) -> list[float]:
    """Return, of each example that has a retrieved row, which share of its words stand in that row."""
    return list(_copied(folder))


def labels_before(folder: FinishedRun) -> dict[str, int]:
    """Return how often the teacher gave each label, refused answers included; empty where the ledger is gone."""
    file, output = folder.path / "ledger.jsonl", folder.task.output
    if not folder.task.labels or not file.is_file():
        return {}
    counts = dict.fromkeys(folder.task.labels, 0)
    for _, row in folder.rows():
        counts[row[output]] = counts.get(row[output], 0) + 1
    with intact(file), file.open(encoding="utf-8") as lines:
        for line in lines:
            label = _label(json.loads(line), output)
            if label in counts:
                counts[label] += 1
    return counts


def _label(entry: Mapping[str, object], output: str) -> str | None:
    held = entry.get("fields")
    if not isinstance(held, Mapping):
        try:
            held = json.loads(str(entry.get("text")))
        except ValueError:
            return None
    found = held.get(output) if isinstance(held, Mapping) else None
    return found if isinstance(found, str) else None


def _copied(folder: FinishedRun) -> Iterator[float]:
    for _, row in folder.rows():
        cells = folder.retrieved_cells.get(address(row.get("provenance") or {}))
        own = words(folder.task.input_text(row)) if cells else []
        if cells and own:
            given = set(words(" ".join(cells.values())))
            yield sum(word in given for word in own) / len(own)


def _measured(texts: Sequence[str], rows: int, seed: int) -> dict[str, float]:
    taken = tuple(shorten(texts[row], _CHARS) for row in sample_rows(len(texts), rows, seed))
    return dict(zip(MEASURES, varied(taken), strict=True))


@lru_cache(maxsize=16)
def varied(texts: tuple[str, ...]) -> tuple[float, ...]:
    """Return how varied texts are, by each of the measures; of the same texts, for card and report, only once."""
    return self_bleu(texts)[3], distinct_n(texts)[1], unique_share(texts)


def _evaluation_texts(folder: FinishedRun) -> list[str]:
    task = read_task(folder.path)
    if task.evaluation is None or task.evaluation.path is None:  # what is on the Hub is not fetched for a figure
        return []
    try:
        return [task.input_text(row) for row in task.evaluation_rows()]
    except TaskError:  # it has changed since, and no longer fits
        return []
