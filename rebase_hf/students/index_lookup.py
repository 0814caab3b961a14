"""Where a grounded student's index is: told when it is saved, found again when it is loaded."""

import logging
import shutil
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError, StudentError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.plan import open_index
from rebase_hf.students.json_files import read_json, write_json
from rebase_hf.students.saving import KNOWLEDGE, LOCAL, SavedStudent

logger = logging.getLogger(__name__)

# What a knowledge store's only source is called; such an index belongs to its student and goes where it goes.
STORE = "knowledge-store"


def is_store(index: RowIndex) -> bool:
    """Return whether an index is a knowledge store."""
    return {source.dataset for source in index.sources} == {STORE}


def is_own_store(index: RowIndex, folder: Path) -> bool:
    """Return whether an index is the knowledge store that lies in a student's folder already."""
    return is_store(index) and (folder / KNOWLEDGE).resolve() == index.path.resolve()


def index_facts(index: RowIndex | None) -> dict[str, Any] | None:
    """Return what `training.json` says of an index: nothing of where it lies on this machine."""
    if index is None:
        return None
    hub, revision = _on_hub(index.path)
    return {
        "name": KNOWLEDGE if is_store(index) else hub or index.path.name,
        "hub": hub,
        "revision": revision,
        "fingerprint": index.fingerprint,
        "rows": len(index),
    }


def keep_index(index: RowIndex, folder: Path) -> None:
    """Write what finds a student's index again: the store itself, or where the index lies here."""
    if is_store(index):
        shutil.copytree(index.path, folder / KNOWLEDGE)
    elif _on_hub(index.path)[0] is None:
        write_json(folder / LOCAL, {"index": str(index.path)})


def same_index(saved: SavedStudent, given: Any = None) -> RowIndex:
    """Return a saved student's index: the one given, else its own store, else where it lay, else from the Hub.

    Raises:
        StudentError: None of these is there, or is what it was; says what to give.
    """
    facts = saved.facts.get("index") or {}
    if given is not None:
        index = open_index(given)
        if index.fingerprint != facts.get("fingerprint"):
            logger.warning("%s was trained with another index than the one given.", saved.folder)
        return index
    reasons = []
    for place, revision in _places(saved, facts):
        try:
            index = RowIndex.open(place, revision=revision)
        except RowIndexError as error:
            reasons.append(str(error))
            continue
        if index.fingerprint == facts.get("fingerprint"):
            return index
        reasons.append(f"{place} is another index by now.")
    name, rows, mark = facts.get("name"), facts.get("rows"), str(facts.get("fingerprint"))[:12]
    raise StudentError(
        f"Student {saved.folder} reads passages from the index `{name}` ({rows} rows, fingerprint {mark}), which is "
        f"not at hand. {' '.join(reasons)} Give it: load_student(..., index=FOLDER_OR_HUB_ID); `--index` on the "
        "command line."
    )


def _places(saved: SavedStudent, facts: dict[str, Any]) -> list[tuple[str, str | None]]:
    places: list[tuple[str, str | None]] = []
    if (saved.folder / KNOWLEDGE).is_dir():
        places.append((str(saved.folder / KNOWLEDGE), None))
    if (saved.folder / LOCAL).is_file():
        path = str(read_json(saved.folder / LOCAL).get("index"))
        if Path(path).is_dir():  # what is gone must not be taken for a Hub id
            places.append((path, None))
    if facts.get("hub"):
        places.append((str(facts["hub"]), facts.get("revision")))
    return places


def _on_hub(path: Path) -> tuple[str | None, str | None]:
    """Return Hub id and commit of an index in the Hub's cache, which is datasets--ORG--NAME/snapshots/COMMIT."""
    repo = path.parent.parent.name
    if path.parent.name != "snapshots" or not repo.startswith("datasets--"):
        return None, None
    return repo.removeprefix("datasets--").replace("--", "/", 1), path.name
