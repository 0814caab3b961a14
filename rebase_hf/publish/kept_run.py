"""A run that could not be published, kept for its maker alone: its folder, and the answers that were paid for."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rebase_hf.errors import JournalError, PublishError
from rebase_hf.publish.hub_repo import Push, repo_state
from rebase_hf.publish.write_access import prove
from rebase_hf.teacher.journal_copies import copy_answers

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

JOURNAL = "journal.sqlite"
FOLDER = "run"
_OURS = (f"{FOLDER}/", JOURNAL)
_BESIDE = frozenset({".gitattributes", "README.md"})
_CARD = """\
# A run of rebase_hf that is not published

What a job made, kept here because its machine is gone: `run/` is the run's folder as it was, with texts of its sources
and of answers that were dropped; `journal.sqlite` holds the teacher's answers. It is private, and should stay so.

To go on from it:

```
{go_on}
```
"""


def prove_keeping(api: "HfApi", repo_id: str) -> None:
    """Raise unless a run could be kept in a repository: it may be written to, is private, and holds nothing else.

    Raises:
        PublishError: So it is not; or the client's errors.
    """
    prove(api, repo_id, "dataset")
    parent, held = repo_state(api, repo_id, "dataset")
    if parent is not None and not api.repo_info(repo_id, repo_type="dataset").private:
        raise PublishError(
            f"{repo_id} is public, and a run that is not published is kept for its maker alone. Make it private in "
            "its settings, or name another repository."
        )
    if other := sorted(name for name in held - _BESIDE if not name.startswith(_OURS)):
        raise PublishError(
            f"{repo_id} holds something else than a run that is kept ({other[0]}). Name another repository."
        )


def prepare_keeping(api: "HfApi", run: Path, repo_id: str, *, journal: Path | None, go_on: str) -> Push:
    """Return what keeping a run sends; nothing is written there.

    Answers that are kept there already were paid for, too: they stay, and where there are new ones they are copied
    into `journal` beside these.
    """
    prove_keeping(api, repo_id)
    parent, held = repo_state(api, repo_id, "dataset")
    files: dict[str, bytes | Path] = {"README.md": _CARD.format(go_on=go_on).encode()}
    held_here = ((path.relative_to(run), path) for path in run.rglob("*") if path.is_file())
    # A folder that was fetched has the Hub client's notes in `.cache`, which the Hub takes from nobody.
    files |= {
        f"{FOLDER}/{name.as_posix()}": path
        for name, path in held_here
        if not any(part.startswith(".") for part in name.parts)
    }
    if journal is not None:
        files[JOURNAL] = journal
        if JOURNAL in held:
            _add_earlier(fetch_answers(api, repo_id), journal, repo_id)
    stale = tuple(sorted(name for name in held - {*files, JOURNAL} if name.startswith(_OURS)))
    message = "Keep a run that is not published"
    return Push(repo_id, "dataset", files, stale, parent, message, tag=None, private=True, reasons=())


def _add_earlier(earlier: Path, journal: Path, repo_id: str) -> None:
    try:
        copy_answers(earlier, journal)
    except JournalError as error:
        logger.warning("What was kept in %s before can't be read, and is replaced: %s", repo_id, error)


def fetch_answers(api: "HfApi", repo_id: str) -> Path:
    """Return the journal that was kept in a repository.

    Raises:
        PublishError: There is none; or the client's errors.
    """
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(api.hf_hub_download(repo_id, JOURNAL, repo_type="dataset"))
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise PublishError(f"{repo_id} keeps no answers to go on from. Begin without --go-on.") from error
