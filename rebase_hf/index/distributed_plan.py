"""The plan of a build by many machines: which sources, at which commits, read by which rank. Made once."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index import local_sources
from rebase_hf.index.build_settings import BuildSettings
from rebase_hf.index.building import digest, nothing_left
from rebase_hf.index.distributed_folder import SharedFolder
from rebase_hf.index.encoders import Encoder, encoder_identity, load_encoder
from rebase_hf.index.hub_search import HubSearch
from rebase_hf.index.licenses import allowed_licenses
from rebase_hf.index.opening import GivenSource, PatientHub, check_given, name_of, told, unpinned
from rebase_hf.index.source_records import SkippedSource, SourceUnusable

logger = logging.getLogger(__name__)

PLAN = "plan.json"
_FORMAT = "rebase_hf.index plan"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """A source that a rank will open.

    Attributes:
        address: What it opens: a Hub id with its commit, or an absolute path.
        given: What was asked for.
        hub: Whether it is a dataset of the Hub.
    """

    address: str
    given: str
    hub: bool


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What is to be built, by how many ranks.

    Attributes:
        tasks: How many ranks read; rank r reads `sources[r::tasks]`.
        encoder: Its `name`, `identity` and `dimension`.
        entries: Sources in the index's order, and what was already left out.
        asked: Digest of what the plan was asked for.
        digest: What tells plans apart, hex.
    """

    tasks: int
    encoder: dict[str, Any]
    settings: BuildSettings
    entries: tuple[PlannedSource | SkippedSource, ...]
    asked: str
    digest: str

    @property
    def sources(self) -> list[tuple[int, PlannedSource]]:
        """The sources to be opened, each with its place among the entries."""
        return [(place, entry) for place, entry in enumerate(self.entries) if isinstance(entry, PlannedSource)]

    def shard(self, rank: int) -> list[tuple[int, PlannedSource]]:
        """Return the sources that a rank reads."""
        return self.sources[rank :: self.tasks]


def plan_index(
    folder: str | Path | SharedFolder,
    sources: Sequence[GivenSource],
    *,
    tasks: int,
    encoder: str | Encoder | None = None,
    settings: BuildSettings | None = None,
    token: str | bool | None = None,
) -> BuildPlan:
    """Write the plan of a build into the folder that all machines share, or return the one that is there.

    Searches are made and Hub ids are pinned to commits here, once, so that all ranks agree. Sources are opened, and
    their licences and columns looked at, by the ranks. A script that is run again gets the same plan.

    Args:
        folder: A folder that all machines mount, or the address of one for fsspec (`hf://buckets/me/rows`).
        sources: As for `RowIndex.build`, without `datasets.Dataset` objects, which other machines don't have. Paths
            must lead to the same files on all of them.
        tasks: How many ranks read the sources.
        encoder: As for `RowIndex.build`.
        token: For this machine's requests; ranks use the login of their own (`HF_TOKEN`).

    Raises:
        RowIndexError: The folder has the plan of another build, or nothing is left to build from.
    """
    if tasks < 1:
        raise RowIndexError(f"`tasks` is {tasks}; expected 1 or more.")
    shared, chosen = SharedFolder.at(folder), settings or BuildSettings()
    chosen.check()
    for source in sources:
        check_given(source)
    loaded = load_encoder(encoder)
    about = {"name": loaded.name, "identity": encoder_identity(loaded), "dimension": loaded.dimension}
    asked = digest([tasks, about, asdict(chosen), [repr(source) for source in sources]])
    if shared.read(PLAN) is not None:
        held = read_plan(shared)
        if held.asked != asked:
            raise RowIndexError(
                f"{shared.address} holds the plan of another build ({held.tasks} tasks, encoder "
                f"`{held.encoder['name']}`). Plan this one in another folder, or delete that one."
            )
        return held
    entries = _entries(sources, chosen, token)
    _write(shared, entries, {"tasks": tasks, "encoder": about, "settings": asdict(chosen), "asked": asked})
    plan = read_plan(shared)
    logger.info("%d sources are planned for %d ranks.", len(plan.sources), tasks)
    return plan


def _write(folder: SharedFolder, entries: Sequence[PlannedSource | SkippedSource], about: dict[str, Any]) -> None:
    if not any(isinstance(entry, PlannedSource) for entry in entries):
        raise nothing_left([entry for entry in entries if isinstance(entry, SkippedSource)])
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        **about,
        "entries": [asdict(entry) for entry in entries],
    }
    folder.write(PLAN, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())


def read_plan(folder: SharedFolder) -> BuildPlan:
    """Return the plan in a folder.

    Raises:
        RowIndexError: There is none, it is damaged, or another version wrote it.
    """
    raw = folder.read(PLAN)
    if raw is None:
        raise RowIndexError(f"{folder.address} holds no {PLAN}; write one with `plan_index` first.")
    try:
        held = json.loads(raw)
        if held.get("format") != _FORMAT or held.get("version") != _VERSION:
            raise RowIndexError(
                f"{folder.address}/{PLAN} is no plan of version {_VERSION}. Install the release that wrote it, or "
                "plan again in another folder."
            )
        entries = tuple(
            SkippedSource(**entry) if "reason" in entry else PlannedSource(**entry) for entry in held["entries"]
        )
        settings, known = BuildSettings.from_parameters(held["settings"]), hashlib.sha256(raw).hexdigest()
        return BuildPlan(int(held["tasks"]), dict(held["encoder"]), settings, entries, str(held["asked"]), known)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RowIndexError(f"{folder.address}/{PLAN} is damaged: {error!r}. Delete it and plan again.") from error


def _entries(
    given: Sequence[GivenSource], settings: BuildSettings, token: str | bool | None
) -> list[PlannedSource | SkippedSource]:
    hub = PatientHub(allowed_licenses(settings.licenses), settings.limits(), token)
    entries: list[PlannedSource | SkippedSource] = []
    for source in given:
        if isinstance(source, HubSearch):
            found = hub.find(source)
            entries += [
                PlannedSource(one, unpinned(one), hub=True) if isinstance(one, str) else told(one) for one in found
            ]
            continue
        if not isinstance(source, str | Path):
            raise RowIndexError(
                f"A `{type(source).__name__}` is in this program only; save it (`to_parquet`) where all machines see "
                "it, and give the path."
            )
        try:
            entries.append(_planned(source, hub))
        except SourceUnusable as error:
            entries.append(told(SkippedSource(name_of(source), error.reason, error.detail)))
    return entries


def _planned(source: str | Path, hub: PatientHub) -> PlannedSource:
    given = str(source)
    if (local := local_sources.find(given)) is not None:
        path, *rest = local
        parts = ":".join(part or "" for part in rest).rstrip(":")
        return PlannedSource(f"{path.resolve()}:{parts}" if parts else str(path.resolve()), given, hub=False)
    if isinstance(source, Path) or local_sources.looks_like_a_path(source):
        raise SourceUnusable("not_found", "there is no such folder or file")
    return PlannedSource(hub.pin(given), given, hub=True)
