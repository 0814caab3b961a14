"""Who may see a repository that a run is published to.

Private by default where a source of its rows is not open to everybody: private or gated on the Hub, no longer there,
or the user's own under no stated licence. A licence that is unknown otherwise refuses the push altogether. What the
user says wins (`--public`), and is told what stands against it.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rebase_hf.errors import PublishError
from rebase_hf.publish.finished_run import FinishedRun

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

_AT_ONCE = 8
_SHOWN = 5


def reasons_for_private(api: "HfApi", folder: FinishedRun, dataset_id: str | None = None) -> tuple[str, ...]:
    """Return why what a run made should not be public, each naming its sources; empty where nothing speaks against it.

    Args:
        dataset_id: Where the run's dataset is published, for its student.
    """
    names = list(dict.fromkeys(source.dataset for source in folder.sources if source.on_hub))
    if dataset_id is not None and dataset_id not in names:
        names.append(dataset_id)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        states = list(pool.map(lambda name: _state(api, name), names))
    found: dict[str, list[str]] = {}
    for name, state in zip(names, states, strict=True):
        if state:
            found.setdefault(state, []).append(name)
    return (*(f"{state}: {_some(held)}" for state, held in sorted(found.items())), *_own(folder))


def check_visible(api: "HfApi", repo_id: str, repo_type: str, private: bool | None, reasons: tuple[str, ...]) -> None:
    """Raise where a repository is there and public, and is to be private.

    Args:
        private: What the user says; None: private where there are reasons.

    Raises:
        PublishError: So it is.
    """
    chosen = True if private is None and reasons else private
    if not chosen or not api.repo_exists(repo_id, repo_type=repo_type):
        return
    if not api.repo_info(repo_id, repo_type=repo_type).private:
        told = "; ".join(reasons)
        why = f"what is to be published should be private ({told})" if private is None else "it was to be private"
        raise PublishError(
            f"{repo_id} is there already and public, and {why}. Give another name, make it private in its settings, "
            "or say --public."
        )


def make_repo(api: "HfApi", repo_id: str, repo_type: str, private: bool | None, reasons: tuple[str, ...]) -> None:
    """Make a repository as visible as it may be, unless it is there; as `check_visible` takes it.

    Raises:
        PublishError: It is there and public, and is to be private.
    """
    check_visible(api, repo_id, repo_type, private, reasons)
    told = "; ".join(reasons)
    if not api.repo_exists(repo_id, repo_type=repo_type):
        chosen = True if private is None and reasons else private
        api.create_repo(repo_id, repo_type=repo_type, private=chosen, exist_ok=True)
        if private is None and reasons:
            logger.warning("%s is made private (%s). --public says otherwise.", repo_id, told)
    if private is False and reasons:
        logger.warning("%s is public, as you say, though it was made of sources that are not (%s).", repo_id, told)


def _state(api: "HfApi", dataset: str) -> str | None:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        about = api.dataset_info(dataset)
    except GatedRepoError:
        return "gated"
    except RepositoryNotFoundError:
        return "private, or no longer there"
    return "private" if about.private else "gated" if about.gated else None


def _own(folder: FinishedRun) -> Iterator[str]:
    if folder.own_sources:
        yield "your own rows, for which the task states no `license`"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
