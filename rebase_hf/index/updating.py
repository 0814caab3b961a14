"""Changing an index: sources added, read anew, or removed; all that stays is left as it lies."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rebase_hf.errors import RowIndexError
from rebase_hf.index import addresses
from rebase_hf.index.build_settings import BuildSettings
from rebase_hf.index.building import (
    IndexChange,
    key_of,
    locked,
    open_sources,
    write_change,
)
from rebase_hf.index.catalog import CatalogSource
from rebase_hf.index.compaction import MOST_DEAD
from rebase_hf.index.encoders import Encoder, check_same_encoder
from rebase_hf.index.index_writing import PresentIndex, read_index
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

    One that the index has already is read anew in its place where it has changed: of the Hub the same dataset, config
    and split; of this machine what was read from the same path.

    Raises:
        RowIndexError: None of them can be used, there is no index, or it is of another encoder.
    """
    if not given:
        raise RowIndexError("No source was given to be added; name at least one.")
    with locked(path) as root:
        change = _Change(root, encoder)
        opened, skipped = open_sources(given, change.settings, token)
        if not opened:
            shown = "; ".join(f"`{skip.source}`: {skip.reason} ({skip.detail})" for skip in skipped[:5])
            raise RowIndexError(f"Nothing was added to {root}: all {len(skipped)} sources were left out. {shown}.")
        change.put(opened, skipped, append=True)


def refresh_sources(
    path: Path, names: Collection[str] | None, encoder: Encoder, *, token: str | bool | None = None
) -> None:
    """Read sources anew where they have changed since they were read; what can't be read any more stays as it was.

    Args:
        names: Datasets, as `name`, `name:CONFIG` or `name:CONFIG:SPLIT`; None for all that can be read again.

    Raises:
        RowIndexError: A name is of no source, or of one that can't be found again; or the index is of another encoder.
    """
    with locked(path) as root:
        change = _Change(root, encoder)
        present = change.present
        chosen = list(present.catalog.sources) if names is None else _chosen(present, names)
        given: list[GivenSource] = []
        for one in chosen:
            address = change.remembered.get(one.key) or _hub_address(one)
            if address is not None:
                given.append(address)
            elif names is not None:
                raise RowIndexError(
                    f"Where `{one.source.dataset}` was read from is not known here; add it again with its path."
                )
            else:
                logger.info("Source %s is left as it is: where it was read from is not known.", one.source.dataset)
        opened, skipped = open_sources(given, change.settings, token)
        for skip in skipped:
            logger.warning("What the index holds of %s stays as it was read.", skip.source)
        change.put(opened, skipped, append=False)


def remove_sources(path: Path, names: Collection[str]) -> None:
    """Take sources out of an index.

    Args:
        names: Datasets, as `name`, `name:CONFIG` or `name:CONFIG:SPLIT`.

    Raises:
        RowIndexError: A name is of no source, or none would be left.
    """
    with locked(path) as root:
        change = _Change(root, None)
        gone = {one.key for one in _chosen(change.present, names)}
        left = [one for one in change.present.catalog.sources if one.key not in gone]
        if not left:
            raise RowIndexError(f"Nothing would be left of {root}; delete the folder if that is meant.")
        change.write(left, change.present.catalog.skipped)


def compact_index(path: Path) -> None:
    """Write the segments anew that hold rows of sources which are no longer in the index.

    Raises:
        RowIndexError: There is no index.
    """
    with locked(path) as root:
        change = _Change(root, None)
        if change.present.manifest.counts["dead_rows"]:
            change.write(change.present.catalog.sources, change.present.catalog.skipped, most_dead=0.0)


class _Change:
    """A change of the index in a folder that is locked.

    Args:
        encoder: None where nothing is to be read.

    Raises:
        RowIndexError: There is no index, it is damaged, or of another encoder.
    """

    def __init__(self, root: Path, encoder: Encoder | None) -> None:
        self._root, self._encoder = root, encoder
        self.present = read_index(root)
        if encoder is not None:  # who opened the index a while ago may hold the encoder that it was of then
            check_same_encoder(encoder, self.present.manifest.encoder, root)
        self.settings = BuildSettings.from_parameters(self.present.manifest.parameters)
        self.remembered = addresses.recall(root)

    def put(self, opened: Sequence[Source], skipped: Sequence[SkippedSource], *, append: bool) -> None:
        """Have the index hold these sources as they are now.

        Args:
            append: Put those at the end that it does not hold; else they are passed over.
        """
        about = self.present.manifest.encoder
        held = {one.key for one in self.present.catalog.sources}
        new = {key: source for source in opened if (key := key_of(source, about, self.settings)) not in held}
        by_name: dict[tuple[str, str | None, str], list[str]] = {}
        for key, source in new.items():
            by_name.setdefault((source.dataset, source.config, source.split), []).append(key)
        wanted: list[CatalogSource | Source] = []
        instead: dict[str, CatalogSource] = {}
        for one in self.present.catalog.sources:
            candidates = by_name.get(one.name, [])
            now = next((key for key in candidates if self._same(one, new[key])), None)
            wanted.append(one if now is None else new[now])
            if now is not None:
                candidates.remove(now)
                instead[now] = one
        if append:
            wanted += [source for key, source in new.items() if key not in instead]
        found = {key: source.reopen for key, source in new.items() if source.reopen}
        again = {without_folders(SkippedSource(source.address, "", "")).source for source in opened}
        again |= {without_folders(skip).source for skip in skipped}
        earlier = [skip for skip in self.present.catalog.skipped if skip.source not in again]
        self.write(wanted, [*earlier, *skipped], found=found, instead=instead)

    def write(
        self,
        wanted: Sequence[CatalogSource | Source],
        skipped: Sequence[SkippedSource],
        *,
        found: Mapping[str, str] = MappingProxyType({}),
        instead: Mapping[str, CatalogSource] = MappingProxyType({}),
        most_dead: float = MOST_DEAD,
    ) -> None:
        """Write the index, where there is something to be written."""
        catalog = self.present.catalog
        as_it_is = list(wanted) == list(catalog.sources)
        recorded = [without_folders(skip) for skip in skipped]
        if as_it_is and recorded == list(catalog.skipped) and most_dead == MOST_DEAD:
            logger.info("Index %s holds these sources as they are.", self._root)
            return
        change = IndexChange(self._root, wanted, skipped, found, instead)
        write_change(change, self.present, self._encoder, self.settings, most_dead=most_dead)

    def _same(self, one: CatalogSource, source: Source) -> bool:
        """Return whether a source of the same name is the one that the index holds, as it is now.

        Of this machine, names say little: every `Dataset` that a program made is called `dataset`.
        """
        if "/" in one.source.dataset:
            return True
        return source.reopen is not None and self.remembered.get(one.key) == source.reopen


def _chosen(present: PresentIndex, names: Collection[str]) -> list[CatalogSource]:
    catalog = present.catalog.sources
    return [catalog[number] for number in named_sources(catalog, *names)]


def _hub_address(one: CatalogSource) -> str | None:
    """Return the address of a source of the Hub; local ones are named by their folder alone."""
    if "/" not in one.source.dataset:
        return None
    return f"{one.source.dataset}:{one.source.config or ''}:{one.source.split}"
