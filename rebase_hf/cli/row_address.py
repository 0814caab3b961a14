"""ROW on the command line: which row of a run is meant.

`12` is an example, by its position; `ledger:5` a line of `ledger.jsonl`, from 0; `DATASET#ROW`, `DATASET:CONFIG#ROW`,
`DATASET:SPLIT#ROW` or `DATASET:CONFIG:SPLIT#ROW` a source row, wherever it ended. Both files are read line by line:
they have a line for every row that the run looked at.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import RebaseError
from rebase_hf.rows import source_address

EXAMPLES, LEDGER = "rows.jsonl", "ledger.jsonl"
# Longer numbers are typing errors, and Python refuses to read those of 4,300 digits.
_NUMBER = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row of a run, as the run folder has it.

    Attributes:
        file: `rows.jsonl` when it became an example, else `ledger.jsonl`.
        number: Its line there, from 0; of an example its position in the run.
        entry: What the line holds.
        in_split: How many examples of the same split come before it; 0 for what is no example.
    """

    file: str
    number: int
    entry: Mapping[str, Any]
    in_split: int = 0

    @property
    def is_example(self) -> bool:
        """Whether it became an example."""
        return self.file == EXAMPLES

    @property
    def address(self) -> str:
        """The shortest ROW that means it."""
        return str(self.number) if self.is_example else f"ledger:{self.number}"


def find_row(folder: Path, row: str) -> FoundRow:
    """Return the row of a run folder that a ROW of the command line means.

    Raises:
        RebaseError: There is no such row, or several; a file of the folder is missing or damaged.
    """
    if "#" in row:
        return _by_source(folder, row)
    prefix, _, number = row.rpartition(":")
    file = {"": EXAMPLES, "ledger": LEDGER}.get(prefix)
    if file is None or not _NUMBER.fullmatch(number):
        raise RebaseError(f"`{row}` names no row. {_forms(folder)}")
    return _by_number(folder, file, int(number))


def _by_number(folder: Path, file: str, number: int) -> FoundRow:
    for found in _rows(folder, file):
        if found.number == number:
            return found
    count = _count(folder, file)
    what = "example" if file == EXAMPLES else "entry in its ledger.jsonl"
    prefix = "" if file == EXAMPLES else "ledger:"
    has = f"it has {count}, the nearest is {prefix}{count - 1}" if count else "it has none"
    raise RebaseError(f"{folder} has no {what} with number {number}: {has}. {_forms(folder)}")


def _by_source(folder: Path, row: str) -> FoundRow:
    name, _, number = row.rpartition("#")
    if not _NUMBER.fullmatch(number):
        raise RebaseError(f"`{row}` names no row: `{number}` after the # is no number. {_forms(folder)}")
    found: list[FoundRow] = []
    nearest: Mapping[str, Any] | None = None
    names = Counter[str]()
    for candidate in (candidate for file in (EXAMPLES, LEDGER) for candidate in _rows(folder, file)):
        source = candidate.entry.get("source")
        if source is None or source["row"] is None:
            continue
        names[source["dataset"]] += 1
        if name not in _names(source):
            continue
        if source["row"] == int(number):
            found.append(candidate)
        elif nearest is None or abs(source["row"] - int(number)) < abs(nearest["row"] - int(number)):
            nearest = source
    if len(found) == 1:
        return found[0]
    if found:
        raise RebaseError(f"`{row}` is {len(found)} rows of {folder}; name one: {_several(found)}.")
    raise RebaseError(f"{_unknown(folder, row, name, nearest, names)} {_forms(folder)}")


def _several(found: list[FoundRow]) -> str:
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(f"{row.address} ({source_address(row.entry['source'])})" for row in found[:5]) + more


def _unknown(folder: Path, row: str, name: str, nearest: Mapping[str, Any] | None, names: Counter[str]) -> str:
    if nearest is not None:
        return (
            f"{folder} says nothing of `{row}`: of `{nearest['dataset']}` the run looked at "
            f"{names[nearest['dataset']]} rows, the nearest is {source_address(nearest)}."
        )
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.3) or [known for known, _ in names.most_common(1)]
    near = f", the nearest is `{close[0]}`" if close else ""
    return f"{folder} looked at no row of `{name}`: its rows are of {len(names)} datasets{near}."


def _forms(folder: Path) -> str:
    """Say what a ROW may be, with what there is in this folder."""
    source = next((row.entry["source"] for row in _rows(folder, EXAMPLES) if row.entry.get("source")), None)
    source = source or next((row.entry["source"] for row in _rows(folder, LEDGER) if row.entry.get("source")), None)
    like = f", such as {source_address(source)}" if source else ""
    return (
        f"ROW is an example's position ({_range('', _count(folder, EXAMPLES))}), an entry of ledger.jsonl "
        f"({_range('ledger:', _count(folder, LEDGER))}), or a source row (DATASET[:CONFIG][:SPLIT]#ROW{like})."
    )


def _range(prefix: str, count: int) -> str:
    return f"{prefix}0 to {prefix}{count - 1}" if count > 1 else f"only {prefix}0" if count else "there is none"


def _name(source: Mapping[str, Any], *parts: str) -> str:
    return ":".join(str(source[part]) for part in parts if source.get(part) is not None)


def _names(source: Mapping[str, Any]) -> set[str]:
    """Return the names that a source row's dataset goes by, without and with its configuration and split."""
    rest = (("config",), ("split",), ("config", "split"))
    return {_name(source, "dataset"), *(_name(source, "dataset", *parts) for parts in rest)}


def _rows(folder: Path, file: str) -> Iterator[FoundRow]:
    splits = Counter[str]()
    try:
        with (folder / file).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                entry = json.loads(line)
                split = entry.get("split") if file == EXAMPLES else None
                yield FoundRow(file, number, entry, splits[split] if split else 0)
                if split:
                    splits[split] += 1
    except OSError as error:
        raise RebaseError(f"{folder} has no readable {file} ({error}). {_MEND}") from error
    except (ValueError, AttributeError) as error:
        raise RebaseError(f"{folder / file} is damaged ({error}). {_MEND}") from error


_MEND = "The command that wrote the run writes it again, from the journal."


def _count(folder: Path, file: str) -> int:
    with (folder / file).open("rb") as lines:
        return sum(1 for _ in lines)
