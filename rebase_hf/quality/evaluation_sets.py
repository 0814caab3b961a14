"""Evaluation sets that a user names beside the task's own, to be kept out of training too.

`tests/held_out.jsonl`, `data/squad` (a folder that `load_dataset` reads), `google/xquad:xquad.en:validation`.
"""

from collections.abc import Sequence
from pathlib import Path

from rebase_hf.errors import TaskError
from rebase_hf.labelled_rows import FILE_KINDS, Rows, RowsReference

# The first of these that a set has is read, where none is named.
SPLITS = ("test", "validation")


def evaluation_set(address: str) -> RowsReference:
    """Return where the rows of a set are.

    Args:
        address: The path of a file of rows or of a folder, or a Hub id; a folder and an id may be followed by
            `:CONFIG` and `:SPLIT`, of which the first may be empty (`org/set::test`).

    Raises:
        TaskError: It is none of these.
    """
    if Path(address).is_file() or Path(address).suffix in FILE_KINDS:
        return RowsReference(path=str(_existing(address)))
    name, *more = address.split(":")
    if not name.strip() or len(more) > 2:
        raise TaskError(
            f"Evaluation set `{address}` is no address. Give the path of a {', '.join(FILE_KINDS)} file or of a "
            "folder, or a Hub id, followed by `:CONFIG:SPLIT` where needed."
        )
    config, split = (part or None for part in (*more, "", "")[:2])
    if Path(name).is_dir() or name.startswith((".", "/", "~")):
        return RowsReference(path=str(_existing(name)), config=config, split=split)
    return RowsReference(dataset=name, config=config, split=split)


def read_evaluation_sets(addresses: Sequence[str]) -> list[Rows]:
    """Return the rows of each set, as texts.

    Raises:
        TaskError: One can't be read, or holds no texts.
    """
    sets = []
    for address in addresses:
        rows = evaluation_set(address).read(SPLITS)
        if not any(text is not None for row in rows for text in row.values()):
            raise TaskError(
                f"Evaluation set `{address}` holds no texts, so nothing of it could be kept out of training. Name the "
                "configuration and split that hold its rows (`ID:CONFIG:SPLIT`), or leave it out."
            )
        sets.append(rows)
    return sets


def _existing(path: str) -> Path:
    found = Path(path).expanduser()
    if not found.exists():
        raise TaskError(f"Evaluation set {found} does not exist. Correct the path; it is relative to where you are.")
    return found.resolve()
