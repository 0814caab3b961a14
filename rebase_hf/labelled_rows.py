"""Labelled rows that a task names: a local file or folder, or a Hub dataset, read as texts."""

import csv
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import TaskError

FILE_KINDS = (".jsonl", ".json", ".csv", ".parquet")
# Half of a character: it can't be written as UTF-8 and would fail far from here.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

Rows = list[dict[str, str | None]]


@dataclass(frozen=True, slots=True)
class RowsReference:
    """Where labelled rows are: a local file or folder (`path`), or a Hub dataset (`dataset`)."""

    path: str | None = None
    dataset: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None

    def fingerprint(self) -> str:
        """Return a digest of what the rows say, where they are local, whatever the path.

        Of Hub rows it is a digest of their address: name a `revision` to pin what they say.
        """
        digest = hashlib.sha256(json.dumps([self.dataset, self.config, self.split, self.revision]).encode())
        if self.path is not None:
            root = Path(self.path)
            files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
            for file in files:
                # The ending says how a file is read, and a folder's names which split it is of.
                name = file.relative_to(root).as_posix() if root.is_dir() else file.suffix
                digest.update(json.dumps([name, hashlib.sha256(file.read_bytes()).hexdigest()]).encode())
        return digest.hexdigest()

    def read(self, default_splits: Sequence[str]) -> Rows:
        """Return the rows as texts, true class labels decoded to their names; None where there is no text.

        Args:
            default_splits: Which split to read where the reference names none: the first of these that is there,
                failing all of them the dataset's first.

        Raises:
            TaskError: They can't be read.
        """
        if self.path is not None and not Path(self.path).is_dir():
            return read_file(Path(self.path))
        splits = self._load()
        split = self.split or next((name for name in default_splits if name in splits), next(iter(splits)))
        if split not in splits:
            raise TaskError(
                f"{self.path or self.dataset} has no split `{split}`; it has {', '.join(map(str, splits))}. Name one."
            )
        rows = splits[split]
        return _decoded(rows.with_format("arrow")[:].to_pylist(), rows.features)

    def _load(self) -> Any:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
        from huggingface_hub.errors import HfHubHTTPError
        from pyarrow import ArrowException

        transport = HfHubHTTPError.__bases__[0]  # of httpx or httpx2, by the version of huggingface_hub
        try:
            return load_dataset(str(self.path or self.dataset), self.config, revision=self.revision)
        except (DatasetsError, ArrowException, transport, OSError, ValueError, RuntimeError) as error:
            where = f"folder {self.path}" if self.path else f"Hub dataset `{self.dataset}`"
            raise TaskError(
                f"Rows in {where} can't be read: {one_line(error)}. Correct its name, config or revision, "
                "or see to its files."
            ) from error


def read_file(path: Path) -> Rows:
    """Return the rows of a .jsonl, .json, .csv or .parquet file as texts.

    Texts stay as they are written: `datasets` and pandas make dates of `2024-05-01`, booleans of `true` and nothing of
    `NA`, which are labels and answers here.

    Raises:
        TaskError: It can't be read; the message says where.
    """
    try:
        if path.suffix == ".parquet":
            return _read_parquet(path)
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return _read_csv(path, text)
        if path.suffix == ".json":
            return _read_json(path, text)
        lines = enumerate(text.split("\n"), start=1)
        return [_record(path, f"line {n}", _load_json(path, f"line {n}", line)) for n, line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"Rows file {path} can't be read: {one_line(error)}. Give a file in UTF-8.") from error


def _read_json(path: Path, text: str) -> Rows:
    content = _load_json(path, "it", text)
    if not isinstance(content, list):
        raise TaskError(f"Rows file {path} holds {type(content).__name__}, expected a list of objects.")
    return [_record(path, f"row {number}", row) for number, row in enumerate(content)]


def _load_json(path: Path, where: str, text: str) -> Any:
    try:
        return json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"Rows file {path}: {where} is not JSON ({error}). Mend it there.") from error


def _record(path: Path, where: str, value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict):
        raise TaskError(f"Rows file {path}: {where} is {value!r:.80}, expected an object of a row's fields.")
    return {name: as_text(item) for name, item in value.items()}


def _read_csv(path: Path, text: str) -> Rows:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise TaskError(f"Rows file {path}, line {reader.reader.line_num}: {error}. Mend it there.") from error
    for number, row in enumerate(rows):
        if None in row:
            raise TaskError(
                f"Rows file {path}: row {number} has more cells than the header has names. Quote cells with commas."
            )
    return [{name: as_text(cell) for name, cell in row.items()} for row in rows]


def _read_parquet(path: Path) -> Rows:
    from datasets import Features
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise TaskError(f"Rows file {path} is not Parquet: {one_line(error)}. Write it again.") from error
    return _decoded(table.to_pylist(), Features.from_arrow_schema(table.schema))


def _decoded(rows: Sequence[Mapping[str, Any]], features: Mapping[str, Any]) -> Rows:
    names = {name: feature.names for name, feature in features.items() if getattr(feature, "names", None)}
    return [{name: as_text(_named(value, names.get(name))) for name, value in row.items()} for row in rows]


def _named(value: Any, names: Sequence[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None  # -1 is a label that is kept secret


def as_text(value: Any) -> str | None:
    """Return a single value as the text that its author wrote, or None where it is no single value."""
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) and value == value else None  # NaN is no value


def one_line(error: BaseException) -> str:
    """Return an error as one short line."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
