"""Whole searches of the Hub: which datasets answer one, pinned to the commits that they show now."""

import heapq
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rebase_hf.errors import RowIndexError
from rebase_hf.index.hub_failures import why
from rebase_hf.index.licenses import license_refusal
from rebase_hf.index.source_records import SkippedSource
from rebase_hf.index.sources import reading_errors

logger = logging.getLogger(__name__)

DEFAULT_LIMIT = 100
# A search whose first results are nearly all of a licence that is not allowed ends here.
_LOOKED_AT = 20
# Each pair of a language and a licence is a request of its own.
_MAX_LISTINGS = 64


@dataclass(frozen=True, slots=True)
class HubSearch:
    """A search of the Hub as a source: its datasets in order of downloads in the last 30 days.

    Among datasets of equal downloads the order is the Hub's.

    Attributes:
        filters: Tags that a dataset must have, all of them, as the Hub spells them:
            `task_categories:text-classification`, `size_categories:1K<n<10K`.
        languages: Any of these, as `en`; none for every language.
        licenses: Any of these, as `apache-2.0`; none for what the build allows.
        limit: So many datasets at most. Datasets that the build's licences refuse do not count, and are recorded.

    Example:
        >>> search = HubSearch(["task_categories:text-classification"], languages=["en"], limit=500)
        >>> search.limit
        500
    """

    filters: Sequence[str] = ()
    languages: Sequence[str] = ()
    licenses: Sequence[str] = ()
    limit: int = DEFAULT_LIMIT

    def check(self) -> None:
        """Raise RowIndexError for a search that can't be made."""
        for name in ("filters", "languages", "licenses"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(item, str) and item.strip() for item in value):
                raise RowIndexError(f"`{name}` of a HubSearch is {value!r}; expected a list of texts.")
        if self.limit < 1:
            raise RowIndexError(f"`limit` of a HubSearch is {self.limit}; expected 1 or more.")
        if not (self.filters or self.languages or self.licenses):
            raise RowIndexError("A HubSearch without filter, language and licence is the whole Hub; give one of them.")
        if len(self.languages or " ") * len(self.licenses or " ") > _MAX_LISTINGS:
            raise RowIndexError(
                f"A HubSearch makes one request for each pair of language and licence; {len(self.languages)} by "
                f"{len(self.licenses)} are more than {_MAX_LISTINGS}. Make several searches."
            )

    def __str__(self) -> str:
        parts = [*self.filters, *(f"language:{name}" for name in self.languages)]
        parts += [f"license:{name}" for name in self.licenses]
        return f"search of the Hub for {', '.join(parts)} (limit {self.limit})"


def find(search: HubSearch, licenses: Sequence[str] | None, token: str | bool | None) -> list[str | SkippedSource]:
    """Return a search's datasets as `org/name@commit`, and those passed over, in order.

    Args:
        licenses: Those that the build allows; None for any.

    Raises:
        SourceUnusable: The Hub can't be asked, or refuses.
    """
    found: list[str | SkippedSource] = []
    taken = 0
    try:
        for looked, (_, repo_id, sha, held) in enumerate(_listed(search, token)):
            if taken == search.limit or looked >= max(1000, _LOOKED_AT * search.limit):
                break
            if refusal := license_refusal(held, licenses):
                found.append(SkippedSource(repo_id, *refusal))
                continue
            found.append(f"{repo_id}@{sha}")
            taken += 1
    except reading_errors() as error:
        raise why(error) from error
    logger.info("The %s found %d datasets, and passed over %d.", search, taken, len(found) - taken)
    if not taken:
        found.append(SkippedSource(str(search), "nothing_found", "no dataset of an allowed licence answers it"))
    return found


Listed = tuple[int, str, str, tuple[str, ...]]


def _listed(search: HubSearch, token: str | bool | None) -> Iterator[Listed]:
    """Yield (-downloads, id, commit, licences) of all datasets that answer, each once."""
    pairs = itertools.product(search.languages or [""], search.licenses or [""])
    listings = [_listing(_tags(search, language, license), token) for language, license in pairs]
    seen = set()
    for entry in heapq.merge(*listings, key=lambda listed: listed[0]):
        if entry[1] not in seen:
            seen.add(entry[1])
            yield entry


def _tags(search: HubSearch, language: str, license: str) -> list[str]:
    return [
        *search.filters,
        *([f"language:{language}"] if language else []),
        *([f"license:{license}"] if license else []),
    ]


def _listing(tags: list[str], token: str | bool | None) -> Iterator[Listed]:
    from huggingface_hub import HfApi

    # No `limit`: pages of a hundred and more are fetched as they are needed, by the Link header.
    infos = HfApi(token=token).list_datasets(
        filter=tags, sort="downloads", expand=["downloads", "sha", "tags", "disabled"]
    )
    for info in infos:
        if not info.disabled:
            yield -(info.downloads or 0), info.id, str(info.sha), _licenses(info.tags or [])


def _licenses(tags: Sequence[str]) -> tuple[str, ...]:
    return tuple(tag.removeprefix("license:").lower() for tag in tags if tag.startswith("license:"))
