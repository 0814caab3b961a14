"""Sources on the Hub: pinned to a commit, streamed, or read by Parquet row groups. Nothing of a repo is executed."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rebase_hf.index.hub_failures import why
from rebase_hf.index.parquet_split import ParquetSplit
from rebase_hf.index.source_cards import SourceCard, check_files_named, read_card
from rebase_hf.index.source_records import SkippedSource, SourceLimits, SourceUnusable
from rebase_hf.index.sources import (
    Source,
    check_license,
    choose_split,
    count_rows,
    describe,
    reading_errors,
    text_columns,
)
from rebase_hf.index.time_budget import TimeBudget

if TYPE_CHECKING:
    from datasets import DatasetBuilder
    from huggingface_hub import HfFileSystem
    from huggingface_hub.hf_api import DatasetInfo

logger = logging.getLogger(__name__)

# Formats of `datasets` that hold rows of text. Left out on purpose: `pandas`, which unpickles, and WebDataset's tar
# files, whose members may be arrays and pickles.
TEXT_FORMATS = frozenset(["csv", "json", "parquet", "arrow", "text", "xml", "conll"])


def open_id(
    address: str, licenses: Sequence[str] | None, limits: SourceLimits, budget: TimeBudget, token: str | bool | None
) -> "list[Source | SkippedSource]":
    """Return a Hub dataset's sources, pinned to the commit that its branch shows now.

    A dataset without a configuration named is read in its default one. Where it has several and none is the default,
    the first `max_configs` are sources of their own.

    Args:
        address: `org/name[@revision][:CONFIG[:SPLIT]]`.

    Raises:
        SourceUnusable: It can't be used; carries the reason.
    """
    name, config, split = [*(part or None for part in address.split(":", 2)), None, None][:3]
    repo_id, _, revision = str(name).partition("@")
    repo = None
    try:
        repo = _HubRepo(repo_id, revision or None, token)
        license_name = check_license(repo.card, licenses)
        names, rest = repo.choose_configs(config, limits.max_configs)
    except reading_errors() as error:
        raise why(error, repo_id, None if repo is None else repo.info) from error
    opened: list[Source | SkippedSource] = []
    for chosen in names:
        try:
            opened.append(repo.open(address, chosen, split, license_name, limits, budget))
        except reading_errors() as error:
            refusal = why(error, repo_id, repo.info)
        except SourceUnusable as error:
            refusal = error
        else:
            continue
        if len(names) == 1 or refusal.reason in ("unreachable", "time_budget", "offline", "gated"):
            raise refusal
        opened.append(SkippedSource(f"{name}:{chosen}", refusal.reason, refusal.detail))
    if rest:
        detail = f"it has {len(names) + len(rest)} configurations and no default; the first {len(names)} are taken"
        opened.append(SkippedSource(address, "too_many_configs", f"{detail}; name others as `{repo_id}:{rest[0]}`"))
    return opened


def pin_id(address: str, token: str | bool | None) -> str:
    """Return a Hub dataset's address with the commit that its branch, or the revision named, shows now.

    Args:
        address: `org/name[@revision][:CONFIG[:SPLIT]]`.

    Raises:
        SourceUnusable: The Hub does not say; carries the reason.
    """
    from huggingface_hub import HfApi

    name, colon, rest = address.partition(":")
    repo_id, _, revision = name.partition("@")
    try:
        sha = HfApi(token=token).dataset_info(repo_id, revision=revision or None).sha
    except reading_errors() as error:
        raise why(error, repo_id) from error
    return f"{repo_id}@{sha}{colon}{rest}"


class _HubRepo:
    """One dataset repo at one commit."""

    def __init__(self, repo_id: str, revision: str | None, token: str | bool | None) -> None:
        from huggingface_hub import HfApi

        self.repo_id, self.token = repo_id, token
        self.info: DatasetInfo = HfApi(token=token).dataset_info(repo_id, revision=revision)
        if self.info.disabled:
            raise SourceUnusable("disabled", "the Hub has disabled this dataset")
        self.sha = str(self.info.sha)
        self.card = _card(repo_id, self.sha, token)
        check_files_named(self.card.data_files)

    def choose_configs(self, asked: str | None, at_most: int) -> tuple[list[str | None], list[str]]:
        """Return the configurations to read, None for the only or default one, and those beyond `at_most`."""
        from datasets import get_dataset_config_names

        if asked is not None or len(self.card.configs) < 2 or self.card.default_config is not None:
            return [asked or self.card.default_config], []
        names = get_dataset_config_names(self.repo_id, revision=self.sha, token=self.token)
        return list(names[:at_most]), list(names[at_most:])

    def open(
        self,
        address: str,
        config: str | None,
        split: str | None,
        license_name: str | None,
        limits: SourceLimits,
        budget: TimeBudget,
    ) -> Source:
        """Return one split of one configuration as a source."""
        from huggingface_hub.constants import ENDPOINT

        builder = self._builder(config)
        files = builder.config.data_files or {}
        chosen = choose_split(files, split)
        paths = [str(path) for path in files[chosen]]
        self._check_paths(paths)
        data = text_columns(builder.as_streaming_dataset(split=chosen), limits.min_text_columns)
        declared = (builder.info.splits or {}).get(chosen)
        total = declared.num_examples if declared is not None and declared.num_examples else None
        parquet, first_rows = None, False
        if _format(builder) == "parquet":
            parquet = ParquetSplit.open(paths, list(data.features), self._opener(), limits.max_source_bytes)
            total = parquet.total_rows
        else:
            size = self._size(paths)
            fits = limits.max_source_bytes is None or size <= limits.max_source_bytes
            # A short split of unknown length is read twice, to be sampled as evenly as any other.
            if total is None and (limits.max_source_bytes is None or 2 * size <= limits.max_source_bytes):
                total = count_rows(data)
            first_rows = not fits
        if total is None or first_rows:
            logger.info("Source %s is sampled from its beginning: the rest would be too many bytes.", address)
        return Source(
            address=address,
            reopen=f"{address.split(':')[0]}:{config or ''}:{chosen}",
            dataset=self.repo_id,
            config=config,
            split=chosen,
            revision=self.sha,
            license=license_name,
            language=self.card.language,
            description=describe(self.card, self.repo_id),
            url=f"{ENDPOINT}/datasets/{self.repo_id}",
            total_rows=total,
            data=data,
            parquet=parquet,
            first_rows=first_rows,
            budget=budget,
        )

    def _builder(self, config: str | None) -> "DatasetBuilder":
        from datasets import load_dataset_builder

        builder = load_dataset_builder(self.repo_id, config, revision=self.sha, token=self.token)
        kind = _format(builder)
        if kind.endswith("folder"):
            raise SourceUnusable("binary_only", f"it is a folder of files that `datasets` reads as `{kind}`")
        if kind not in TEXT_FORMATS:
            raise SourceUnusable("unsupported_format", f"its files are of format `{kind}`")
        return builder

    def _check_paths(self, paths: Sequence[str]) -> None:
        own = f"hf://datasets/{self.repo_id}@{self.sha}/"
        for path in paths:
            if not path.startswith(own):
                raise SourceUnusable("outside_files", f"its data file {path} is not in the repo")

    def _size(self, paths: Sequence[str]) -> int:
        system = self._file_system()
        return sum(int(system.info(path)["size"] or 0) for path in paths)

    def _opener(self) -> Any:
        system = self._file_system()

        def opener(path: str) -> IO[bytes]:
            # No cache: Parquet is read by the ranges that its footer names, and reading ahead fetches in vain.
            return system.open(path, "rb", cache_type="none")  # type: ignore[no-any-return]

        return opener

    def _file_system(self) -> "HfFileSystem":
        from huggingface_hub import HfFileSystem

        return HfFileSystem(token=self.token)


def _format(builder: "DatasetBuilder") -> str:
    return str(type(builder).__module__).rsplit(".", 1)[-1]


def _card(repo_id: str, sha: str | None, token: str | bool | None) -> SourceCard:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(repo_id, "README.md", repo_type="dataset", revision=sha, token=token)
    except LocalEntryNotFoundError:  # an EntryNotFoundError by class, but it means that the Hub was not reached
        raise
    except EntryNotFoundError:
        return SourceCard()
    return read_card(Path(path))
