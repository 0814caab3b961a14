"""Sources on this machine: folders and files that `load_dataset` reads, and `datasets.Dataset` objects."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rebase_hf.index.durable import BLOCK
from rebase_hf.index.source_cards import SourceCard, check_files_named, read_card, shorten
from rebase_hf.index.source_records import SkippedSource, SourceLimits, SourceUnusable, one_line
from rebase_hf.index.sources import (
    FILE_KINDS,
    Source,
    check_license,
    choose_split,
    count_rows,
    describe,
    reading_errors,
    text_columns,
)

if TYPE_CHECKING:
    from datasets import Dataset

CARD = "README.md"


def find(address: str) -> tuple[Path, str | None, str | None] | None:
    """Return (path, config, split) when the address, or what is left of `:CONFIG[:SPLIT]`, exists here."""
    parts = address.split(":")
    for count in range(min(3, len(parts))):
        cut = len(parts) - count
        path = Path(":".join(parts[:cut])).expanduser()
        if _exists(path):
            config, split = [*(part or None for part in parts[cut:]), None, None][:2]
            return path, config, split
    return None


def looks_like_a_path(address: str) -> bool:
    """Return whether an address that does not exist here was meant as a path rather than as a Hub id."""
    head = address.split(":")[0] or address
    return (
        address.startswith((".", "/", "~", "\\"))
        or "\\" in address
        or head.count("/") > 1
        or Path(head).suffix.lower() in FILE_KINDS
    )


def without_folders(skip: SkippedSource) -> SkippedSource:
    """Return what an index records of a source that was left out: of a local one its name and its folder's, no more.

    An index may be published, and where it was built is nobody's business.
    """
    if not looks_like_a_path(skip.source) and find(skip.source) is None:
        return skip
    above = str(Path(skip.source).expanduser().absolute().parent.parent)
    short = "/".join(Path(skip.source).parts[-2:]).lstrip("/")
    return SkippedSource(short, skip.reason, skip.detail.replace(above.rstrip("/") + "/", ""))


def open_path(
    address: str,
    path: Path,
    config: str | None,
    split: str | None,
    licenses: Sequence[str] | None,
    limits: SourceLimits,
) -> Source:
    """Return a local folder or file as a source.

    Raises:
        SourceUnusable: It can't be used; carries the reason.
    """
    path = path.resolve()
    card = _card_beside(path)
    license_name = check_license(card, licenses)
    if path.is_dir():
        check_files_named(card.data_files)
    try:
        splits = _load(path, config)
        split = choose_split(splits, split)
        data = text_columns(splits[split], limits.min_text_columns)
        revision = _content_digest(path)
    except reading_errors() as error:
        raise SourceUnusable("unreadable", one_line(error)) from error
    name = path.name if path.is_dir() else path.stem
    return Source(
        address=address,
        dataset=name,
        config=config,
        split=split,
        revision=revision,
        license=license_name,
        language=card.language,
        description=describe(card, name),
        url=card.url,
        total_rows=count_rows(data),
        data=data,
        reopen=f"{path}:{config or ''}:{split}",
    )


def open_dataset(dataset: "Dataset", licenses: Sequence[str] | None, limits: SourceLimits) -> Source:
    """Return a `datasets.Dataset` as a source; what its `info` says stands for a card.

    Raises:
        SourceUnusable: It can't be used; carries the reason.
    """
    info = dataset.info
    name = info.dataset_name or info.builder_name or "dataset"
    card = SourceCard(
        licenses=tuple(part.strip().lower() for part in (info.license or "").split(",") if part.strip()),
        description=shorten(" ".join((info.description or "").split())),
        url=info.homepage or None,
    )
    license_name = check_license(card, licenses)
    data = text_columns(dataset, limits.min_text_columns)
    return Source(
        address=name,
        dataset=name,
        config=info.config_name,
        split=str(dataset.split or "train"),
        revision=_rows_digest(data),
        license=license_name,
        language=(),
        description=describe(card, name),
        url=card.url,
        total_rows=len(dataset),
        data=data,
    )


def _load(path: Path, config: str | None) -> "dict[str, Dataset]":
    from datasets import Dataset, load_dataset

    # Streamed: no copy in the cache of `datasets`, and no stale one.
    if path.is_dir():
        return load_dataset(str(path), config, streaming=True)  # type: ignore[no-any-return]
    kind = FILE_KINDS.get(path.suffix.lower())
    if kind is None:
        raise SourceUnusable("unreadable", f"a file must end in {', '.join(FILE_KINDS)}")
    # Not load_dataset(kind, ...): that tells a counter of Hugging Face's each time.
    return {"train": getattr(Dataset, f"from_{kind}")(str(path), streaming=True)}


def _card_beside(path: Path) -> SourceCard:
    card = (path if path.is_dir() else path.parent) / CARD
    if not card.is_file():
        return SourceCard()
    if path.is_file() and not card.read_bytes().lstrip().startswith(b"---"):
        return SourceCard()  # a README without YAML beside a single file is about something else
    try:
        return read_card(card)
    except reading_errors() as error:
        raise SourceUnusable("unreadable", f"its card {card}: {one_line(error)}") from error


def _content_digest(path: Path) -> str:
    """Return 40 hex digits of the sha256 of the data files, their names included; the card is no data."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if _is_data(file, path))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix() if path.is_dir() else file.suffix}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()[:40]


def _is_data(file: Path, root: Path) -> bool:
    parts = file.relative_to(root).parts
    return file.is_file() and parts != (CARD,) and not any(part.startswith((".", "__")) for part in parts)


def _rows_digest(dataset: "Dataset") -> str:
    """Return 40 hex digits of the rows' content; `datasets`' own fingerprint is of how they were made."""
    digest = hashlib.sha256(repr(dataset.features).encode())
    for table in dataset.with_format("arrow").iter(batch_size=1000):
        digest.update(json.dumps(table.to_pylist(), default=str).encode())
    return digest.hexdigest()[:40]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for the system, or one with a NUL
        return False
