"""Sources on the Hub: pinned to a commit, streamed."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.index.source_cards import SourceCard, read_card
from rebase_hf.index.sources import (
    Source,
    SourceUnusable,
    check_license,
    choose_split,
    describe,
    one_line,
    reading_errors,
    text_columns,
)

logger = logging.getLogger(__name__)


def open_id(address: str, licenses: Sequence[str] | None, *, token: str | bool | None = None) -> Source:
    """Return a Hub dataset as a source, pinned to the commit that its branch shows now.

    Args:
        address: `org/name[@revision][:CONFIG[:SPLIT]]`.

    Raises:
        SourceUnusable: It can't be used; carries the reason.
    """
    from datasets import load_dataset
    from huggingface_hub import HfApi
    from huggingface_hub.constants import ENDPOINT

    name, config, split = [*(part or None for part in address.split(":", 2)), None, None][:3]
    repo_id, _, revision = str(name).partition("@")
    try:
        info = HfApi(token=token).dataset_info(repo_id, revision=revision or None)
        card = _card(repo_id, info.sha, token)
        license_name = check_license(card, licenses)
        splits = load_dataset(repo_id, config, streaming=True, revision=info.sha, token=token)
        chosen = choose_split(splits, split)
        data = text_columns(splits[chosen])
    except reading_errors() as error:
        raise _why(error) from error
    total = (data.info.splits or {}).get(chosen)
    if total is None or not total.num_examples:
        logger.info("Source %s does not say how many rows it has; its first rows are taken.", address)
    return Source(
        address=address,
        dataset=repo_id,
        config=config,
        split=chosen,
        revision=str(info.sha),
        license=license_name,
        language=card.language,
        description=describe(card, repo_id),
        url=f"{ENDPOINT}/datasets/{repo_id}",
        total_rows=total.num_examples if total is not None and total.num_examples else None,
        data=data,
    )


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


def _why(error: Exception) -> SourceUnusable:
    """Return why a Hub dataset can't be used, told by the first error in the chain that says so."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    reasons: tuple[tuple[Any, str], ...] = (
        (GatedRepoError, "gated"),
        ((RepositoryNotFoundError, RevisionNotFoundError, HFValidationError), "not_found"),
        ((ConnectionError, LocalEntryNotFoundError, TimeoutError), "unreachable"),
    )
    transport = HfHubHTTPError.__bases__[0]
    for link in _chain(error):
        for kinds, reason in reasons:
            if isinstance(link, kinds):
                return SourceUnusable(reason, one_line(link))
        if isinstance(link, transport):
            answered = getattr(link, "response", None) is not None
            return SourceUnusable("unreadable" if answered else "unreachable", one_line(link))
    return SourceUnusable("unreadable", one_line(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
