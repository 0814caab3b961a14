"""Changing an index: sources added, read anew, or removed; all that stays is left as it lies."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from rebase_hf.errors import RowIndexError
from rebase_hf.index import addresses
from rebase_hf.index.build_settings import BuildSettings
from rebase_hf.index.building import IndexChange, key_of, locked, open_sources, write_change
from rebase_hf.index.catalog import CatalogSource
from rebase_hf.index.encoders import Encoder
from rebase_hf.index.index_writing import PresentIndex, present_index
from rebase_hf.index.local_sources import without_folders
from rebase_hf.index.opening import GivenSource
from rebase_hf.index.row_filter import named_sources
from rebase_hf.index.source_records import SkippedSource
from rebase_hf.index.sources import Source

logger = logging.getLogger(__name__)


def add_sources(
    path: Path, given: Sequence[GivenSource], encoder: Encoder, *, token: str | bool | None = None
) -> None:
    """Add sources at the end of an index, with the settings that it was built with.

    One that the index has already, by dataset, config and split, is read anew in its place where it has changed.

    Raises:
        RowIndexError: None of them can be used, or there is no index.
    """
    with locked(path) as root:
        present = _present(root)
        settings = BuildSettings.from_parameters(present.manifest.parameters)
        opened, skipped = open_sources(given, settings, token)
        if not opened:
            shown = "; ".join(f"`{skip.source}`: {skip.reason} ({skip.detail})" for skip in skipped[:5])
            raise RowIndexError(f"Nothing was added to {root}: all {len(skipped)} sources were left out. {shown}.")
        _change(root, present, _with(root, present, opened, encoder, settings), skipped, opened, encoder, settings)


def refresh_sources(
    path: Path, names: Collection[str] | None, encoder: Encoder, *, token: str | bool | None = None
) -> None:
    """Read sources anew where they have changed since they were read.

    Args:
        names: Datasets, as `name`, `name:CONFIG` or `name:CONFIG:SPLIT`; None for all that can be read again.

    Raises:
        RowIndexError: A name is of no source, or of one that can't be found again.
    """
    with locked(path) as root:
        present = _present(root)
        chosen = list(present.catalog.sources) if names is None else _chosen(present, names)
        remembered = addresses.recall(root)
        given: list[GivenSource] = []
        for one in chosen:
            address = remembered.get(one.key) or _hub_address(one)
            if address is not None:
                given.append(address)
            elif names is not None:
                raise RowIndexError(
                    f"Where `{one.source.dataset}` was read from is not known here; add it again with its path."
                )
            else:
                logger.info("Source %s is left as it is: where it was read from is not known.", one.source.dataset)
        settings = BuildSettings.from_parameters(present.manifest.parameters)
        opened, skipped = open_sources(given, settings, token)
        known = {one.name for one in present.catalog.sources}
        opened = [source for source in opened if (source.dataset, source.config, source.split) in known]
        _change(root, present, _with(root, present, opened, encoder, settings), skipped, opened, encoder, settings)


def remove_sources(path: Path, names: Collection[str], encoder: Encoder) -> None:
    """Take sources out of an index.

    Args:
        names: Datasets, as `name`, `name:CONFIG` or `name:CONFIG:SPLIT`.

    Raises:
        RowIndexError: A name is of no source, or none would be left.
    """
    with locked(path) as root:
        present = _present(root)
        gone = {one.key for one in _chosen(present, names)}
        left = [one for one in present.catalog.sources if one.key not in gone]
        if not left:
            raise RowIndexError(f"Nothing would be left of {root}; delete the folder if that is meant.")
        settings = BuildSettings.from_parameters(present.manifest.parameters)
        _change(root, present, left, [], [], encoder, settings)


def _present(root: Path) -> PresentIndex:
    present = present_index(root)
    if present is None:
        raise RowIndexError(f"{root} is no index that can be changed; build it with `rebase-hf index build {root}`.")
    return present


def _with(
    root: Path, present: PresentIndex, opened: Sequence[Source], encoder: Encoder, settings: BuildSettings
) -> list[CatalogSource | Source]:
    """Return the index's sources with those that were opened: in place of what they were, or at the end."""
    remembered = addresses.recall(root)
    held = {one.key for one in present.catalog.sources}
    new = [source for source in opened if key_of(source, encoder, settings) not in held]
    wanted: list[CatalogSource | Source] = []
    for one in present.catalog.sources:
        # Two local folders may have one name; where it is known which is meant, they are told apart.
        same = (
            source
            for source in new
            if one.name == (source.dataset, source.config, source.split)
            and remembered.get(one.key, source.reopen) == source.reopen
        )
        found = next(same, None)
        wanted.append(found or one)
        new = [source for source in new if source is not found]
    return [*wanted, *new]


def _change(
    root: Path,
    present: PresentIndex,
    wanted: Sequence[CatalogSource | Source],
    skipped: Sequence[SkippedSource],
    opened: Sequence[Source],
    encoder: Encoder,
    settings: BuildSettings,
) -> None:
    if [one.key for one in present.catalog.sources] == [getattr(one, "key", None) for one in wanted]:
        logger.info("Index %s holds these sources as they are.", root)
        return
    now = [*skipped, *(SkippedSource(source.address, "", "") for source in opened)]
    again = {without_folders(skip).source for skip in now}
    earlier = [skip for skip in present.catalog.skipped if skip.source not in again]
    write_change(IndexChange(root, wanted, [*earlier, *skipped]), present, encoder, settings)
    found = {key_of(source, encoder, settings): source.reopen for source in opened}
    kept = {one.key for one in wanted if isinstance(one, CatalogSource)}
    held = {key: address for key, address in addresses.recall(root).items() if key in kept}
    addresses.remember(root, held | {key: address for key, address in found.items() if address})


def _chosen(present: PresentIndex, names: Collection[str]) -> list[CatalogSource]:
    catalog = present.catalog.sources
    numbers = {number for name in names for number in named_sources(catalog, name)}
    return [catalog[number] for number in sorted(numbers)]


def _hub_address(one: CatalogSource) -> str | None:
    """Return the address of a source of the Hub; local ones are named by their folder alone."""
    if "/" not in one.source.dataset:
        return None
    return f"{one.source.dataset}:{one.source.config or ''}:{one.source.split}"
