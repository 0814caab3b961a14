"""Seeds: labelled examples that a method starts from, in what proportion of labels, and drawn how."""

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rebase_hf.errors import TaskError
from rebase_hf.index.source_cards import read_card
from rebase_hf.rows import SourceRow
from rebase_hf.task import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seed:
    """A labelled example of the task.

    Attributes:
        fields: The task's fields, and a `rationale` where there is one.
        source: Where it comes from, as an example's `sources` names it; None where the teacher wrote it.
    """

    fields: Mapping[str, str]
    source: SourceRow | None

    def label(self, task: Task) -> str:
        """Return its output."""
        return self.fields[task.output]


def example_seeds(task: Task) -> list[Seed]:
    """Return the task's own examples as seeds."""
    return [Seed(example, _own_row(task, "examples", row, example)) for row, example in enumerate(task.examples)]


def train_seeds(task: Task) -> list[Seed]:
    """Return the labelled rows that the user has (`train`) as seeds."""
    return [Seed(fields, _own_row(task, "train", row, fields)) for row, fields in enumerate(task.train_rows())]


def own_seeds(task: Task, which: str) -> list[Seed]:
    """Return the seeds that a task has: its `train` rows, its `examples`, or (`auto`) the first where there are any.

    Raises:
        TaskError: It has no train rows, and they are asked for.
    """
    if which == "train" and task.train is None:
        raise TaskError(
            f"Task `{task.name}` names no `train` rows to take seeds from. Name some, or use its examples."
        )
    return train_seeds(task) if which == "train" or (which == "auto" and task.train) else example_seeds(task)


def _own_row(task: Task, split: str, row: int, fields: Mapping[str, str]) -> SourceRow:
    named = task.train.dataset if split == "train" and task.train is not None else None
    revision = task.train.revision if split == "train" and task.train is not None else None
    # What the task file says is of its own rows; of a dataset that it names, that dataset's card has the last word.
    license_name = named_license(named, revision) if named else task.license
    return SourceRow(named or task.name, None, split, revision, row, license_name, None, dict(fields))


@lru_cache(maxsize=8)
def named_license(dataset: str, revision: str | None) -> str | None:
    """Return the licence that a Hub dataset's card names, several with commas; None where it names none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        card = read_card(Path(hf_hub_download(dataset, "README.md", repo_type="dataset", revision=revision)))
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        logger.warning("The card of `%s` can't be read, so the licence of its rows is not known: %s", dataset, reason)
        return None
    return ",".join(card.licenses) or None


def by_label(task: Task, seeds: Sequence[Seed], per_label: int, seed: int) -> dict[str, list[Seed]]:
    """Return at most so many seeds of each label, drawn at random, none twice; in the task's order of labels.

    The official code draws with replacement (common.py:447), so that seeds repeat.
    """
    found: dict[str, list[Seed]] = {label: [] for label in task.labels}
    for one in seeds:
        found.setdefault(one.label(task), []).append(one)
    chance = random.Random(f"seeds {seed}")  # noqa: S311 - not for secrets
    return {label: chance.sample(held, min(per_label, len(held))) for label, held in found.items() if held}


def target_shares(task: Task, given: Sequence[str] | None) -> dict[str, float]:
    """Return what share of the examples each label is to have: alike by default.

    Args:
        given: `label=share` texts; labels that are not named share what is left.

    Raises:
        TaskError: One is no such text, names no label of the task, or the shares are more than 1.
    """
    if not task.labels:
        return {}
    shares: dict[str, float] = {}
    for text in given or ():
        label, _, share = text.rpartition("=")
        try:
            shares[label] = float(share)
        except ValueError:
            shares[label] = -1.0
        if label not in task.labels or not 0 <= shares[label] <= 1:
            raise TaskError(f"`{text}` is no share of a label; expected as in `{next(iter(task.labels))}=0.3`.")
    rest = [label for label in task.labels if label not in shares]
    left = 1.0 - sum(shares.values())
    if left < -1e-9 or (not rest and left > 1e-9):
        raise TaskError(f"The labels' shares are {1 - left:g} in all; expected 1.")
    return {label: shares.get(label, left / max(1, len(rest))) for label in task.labels}


def in_shares(shares: Mapping[str, float], available: Mapping[str, int]) -> Iterator[str]:
    """Yield labels so that at every point each has had about its share, until one that has a share runs out.

    Args:
        available: How many drafts each label has; a label without any is left out.
    """
    given = {label: 0 for label, share in shares.items() if share > 0 and available.get(label)}
    while given:
        label = min(given, key=lambda label: ((given[label] + 1) / shares[label], list(shares).index(label)))
        yield label
        given[label] += 1
        if given[label] >= available[label]:
            del given[label]
