"""Write runs to the Hub; with `hub_repo.py`, which it does so by, the only file that does.

A push is one commit on a known parent, so a crash leaves nothing half done, and nobody else's commit is lost. A
repository is made just before that commit: where a push is refused, there is none.
"""

from collections.abc import Iterator
from pathlib import Path

from rebase_hf.errors import PublishError
from rebase_hf.publish.continued_card import continue_card, is_ours
from rebase_hf.publish.finished_run import RunPath
from rebase_hf.publish.hub_errors import hub_errors
from rebase_hf.publish.hub_repo import commit_files, hub_api, last_card, read_card, repo_state, send
from rebase_hf.publish.kept_run import fetch_answers, prepare_keeping, prove_keeping
from rebase_hf.publish.prepared import Wishes, check_student, open_allowed, prepare_dataset, prepare_student
from rebase_hf.publish.visibility import check_visible
from rebase_hf.publish.write_access import prove


def prove_write_access(
    repo_id: str, repo_type: str = "dataset", token: str | None = None, *, private: bool | None = None
) -> None:
    """Raise unless `repo_id` may be written to; nothing is created or changed.

    Call it before anything is paid for or trained. A new repository is judged by the namespace and by what the token
    may do; for one that exists the Hub itself is asked too whether it would take a file.

    Args:
        private: Whether it is to be private, as far as that is known: then one that is there and public is refused.

    Raises:
        PublishError: No token, a wrong or read-only one, another's namespace, a public repository for what is to be
            private, or no answer.
    """
    with hub_errors(repo_id, "check write access to"):
        api = hub_api(token)
        prove(api, repo_id, repo_type)
        check_visible(api, repo_id, repo_type, private, ())


def push_dataset(
    run: RunPath,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    tag: str | None = None,
    teacher_license: str | None = None,
    redact: bool = False,
    keep_personal: bool = False,
) -> str:
    """Publish a run's dataset, its card, report and figures in one commit; return its address.

    What the run holds of source rows and of answers that were dropped (`rows.jsonl`, `ledger.jsonl`, `report.html`)
    stays here. Where the repository has that content already, no commit is made. Other configurations of it are kept.

    Args:
        private: Whether the repository is private. None: private where a source of its rows is private or gated, or
            is the user's own under no stated licence; else as the account's settings have it. See `visibility.py`.
        tag: A name for this version.
        teacher_license: The licence of the teacher's model, a Hub id of one; None takes what the run recorded, or
            what the model's card on the Hub says.
        redact: Take what looks personal or secret out of what is sent, with its kind (`[email]`) in its place.
        keep_personal: Send what looks personal as it is; keys are never sent.

    Raises:
        PublishError: The run may not be published (licences; personal data, and neither `redact` nor
            `keep_personal`), or the Hub refused or could not be reached.
    """
    wishes = Wishes(private, tag, teacher_license, redact, keep_personal)
    folder = open_allowed(run, wishes)
    with hub_errors(repo_id, "publish the dataset to"):
        api = hub_api(token)
        return send(api, prepare_dataset(api, folder, repo_id, wishes))


def push_student(
    run: RunPath,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    tag: str | None = None,
    teacher_license: str | None = None,
    dataset_id: str | None = None,
    redact: bool = False,
    keep_personal: bool = False,
) -> str:
    """Publish a run's student with its card in one commit; return its address.

    Args:
        private: As `push_dataset` takes it; a private `dataset_id` counts as a private source.
        tag: A name for this version.
        teacher_license: As `push_dataset` takes it.
        dataset_id: Where the dataset was published, for the card.
        redact: As `push_dataset` takes it.
        keep_personal: As `push_dataset` takes it.

    Raises:
        PublishError: There is no student, the run may not be published, or the Hub refused or could not be reached.
    """
    wishes = Wishes(private, tag, teacher_license, redact, keep_personal)
    folder = open_allowed(run, wishes)
    check_student(folder)
    with hub_errors(repo_id, "publish the student to"):
        api = hub_api(token)
        return send(api, prepare_student(api, folder, repo_id, wishes, dataset_id=dataset_id))


def push_run(
    run: RunPath,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    tag: str | None = None,
    teacher_license: str | None = None,
    redact: bool = False,
    keep_personal: bool = False,
) -> Iterator[str]:
    """Publish a run's dataset, and its student where there is one, under one name; yield the address of each.

    Both are made and looked through before either is sent, so that what refuses the one keeps the other back too.
    The arguments are those of `push_dataset`.

    Raises:
        PublishError: As `push_dataset` and `push_student`.
    """
    wishes = Wishes(private, tag, teacher_license, redact, keep_personal)
    folder = open_allowed(run, wishes)
    has_student = (folder.path / "student").is_dir()
    if has_student:
        check_student(folder)
    with hub_errors(repo_id, "publish the run to"):
        api = hub_api(token)
        pushes = [prepare_dataset(api, folder, repo_id, wishes)]
        if has_student:
            comes = pushes[0].parent is None
            pushes.append(prepare_student(api, folder, repo_id, wishes, dataset_id=repo_id, dataset_comes=comes))
    for push in pushes:
        with hub_errors(repo_id, f"publish the {'student' if push.repo_type == 'model' else 'dataset'} to"):
            address = send(api, push)
        yield address


def prove_place_to_keep(repo_id: str, token: str | None = None) -> None:
    """Raise unless `keep_run` could write to `repo_id`; nothing is created or changed.

    Raises:
        PublishError: As `prove_write_access`; or it is there and public, or holds something else.
    """
    with hub_errors(repo_id, "check write access to"):
        prove_keeping(hub_api(token), repo_id)


def keep_run(run: Path, repo_id: str, *, journal: Path | None, go_on: str, token: str | None = None) -> str:
    """Put a run that is not published into a private repository, as it is; return the repository's address.

    Args:
        run: The run's folder, finished or not.
        journal: The teacher's answers, in a file that nothing else writes to: those kept there before are added.
        go_on: The commands that go on from it, for the repository's card.

    Raises:
        PublishError: As `prove_place_to_keep`.
    """
    with hub_errors(repo_id, "keep the run in"):
        api = hub_api(token)
        return send(api, prepare_keeping(api, run, repo_id, journal=journal, go_on=go_on))


def fetch_kept_answers(repo_id: str, token: str | None = None) -> Path:
    """Return the journal that `keep_run` put into a repository, as a file that nothing writes to.

    Raises:
        PublishError: There is none, or the Hub refused or could not be reached.
    """
    with hub_errors(repo_id, "fetch what was kept in"):
        return fetch_answers(hub_api(token), repo_id)


def restore_card(repo_id: str, *, token: str | None = None) -> str:
    """Put a student's card back that a trainer's `push_to_hub` wrote over; return the repository's address.

    The newest card of ours in the repository's history is continued by the trainer's: `continue_card`. Where the card
    that is there is ours, no commit is made. `KeepCardCallback` keeps it from being lost to begin with.

    Raises:
        PublishError: There is no card of ours, or the Hub refused or could not be reached.
    """
    with hub_errors(repo_id, "restore the card of"):
        api = hub_api(token)
        prove(api, repo_id, "model")
        parent, held = repo_state(api, repo_id, "model")
        theirs = read_card(api, repo_id, "model", parent, held)
        ours = last_card(api, repo_id, "model", is_ours)
        if ours is None:
            raise PublishError(f"{repo_id} has no card of a student that rebase_hf wrote. Push the student instead.")
        card = ours if theirs is None else continue_card(ours, theirs, repo_id=repo_id)
        commit_files(api, repo_id, "model", {"README.md": card.encode()}, [], parent, "Put the student's card back")
        return f"{api.endpoint}/{repo_id}"
