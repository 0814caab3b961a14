"""What a push would send: all of it made, merged with what is there, and looked through before anything is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rebase_hf.errors import PublishError
from rebase_hf.public_text import public
from rebase_hf.publish.base_model import check_student_license, with_models_looked_up
from rebase_hf.publish.card_merging import merge_card
from rebase_hf.publish.cards import render_dataset_card, render_student_card
from rebase_hf.publish.continued_card import continue_card, is_ours
from rebase_hf.publish.finished_run import FinishedRun, source_licenses
from rebase_hf.publish.hub_repo import Push, check_push, check_tag, last_card, read_card, read_manifest, repo_state
from rebase_hf.publish.licenses import derive_license
from rebase_hf.publish.outgoing import checked_files, with_redactions
from rebase_hf.publish.redacted_run import redacted_run
from rebase_hf.publish.report_figures import TITLES, draw_figures, draw_student_figures, figure_files
from rebase_hf.publish.student_files import left_by_earlier, student_files
from rebase_hf.publish.teacher_card import look_up
from rebase_hf.publish.teacher_terms import flagged
from rebase_hf.publish.visibility import reasons_for_private
from rebase_hf.publish.write_access import prove
from rebase_hf.svg import standalone

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FIGURES = {f"figures/{name}.svg" for name in TITLES}


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a run is to be published, as `push_dataset` takes it.

    Raises:
        PublishError: The tag can be none, the Hub knows no such licence, or two wishes contradict each other.
    """

    private: bool | None = None
    tag: str | None = None
    teacher_license: str | None = None
    redact: bool = False
    keep_personal: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without the run and the Hub."""
        check_tag(self.tag)
        flagged(self.teacher_license)
        if self.redact and self.keep_personal:
            raise PublishError(
                "`redact` takes out what looks personal, and `keep_personal` (--keep-personal) sends it as it is: "
                "give one of them."
            )


def open_allowed(run: "str | Path | FinishedRun", wishes: Wishes) -> FinishedRun:
    """Read a run that may be published, as far as that is told by what lies here.

    Raises:
        PublishError: It is none, or its licences forbid it.
    """
    folder = FinishedRun.open(run).with_teacher_license(flagged(wishes.teacher_license))
    _check_license(folder)
    return folder


def check_student(folder: FinishedRun) -> None:
    """Raise PublishError where a run has no complete student."""
    root = folder.path / "student"
    if not root.is_dir() or not any(root.iterdir()):
        raise PublishError(f"{folder.path} has no trained student. Train one first: rebase-hf train {folder.path}")
    student_files(root)


def prepare_dataset(api: "HfApi", folder: FinishedRun, repo_id: str, wishes: Wishes) -> Push:
    """Return what a push of a run's dataset sends; nothing is written.

    Raises:
        PublishError: It may not be sent, or not there.
    """
    prove(api, repo_id, "dataset")
    folder = _with_teacher(api, folder, wishes)
    if wishes.redact:
        folder = with_redactions(folder)
    shown = redacted_run(folder) if wishes.redact else folder
    parent, held = repo_state(api, repo_id, "dataset")
    card = merge_card(render_dataset_card(shown, repo_id=repo_id), read_card(api, repo_id, "dataset", parent, held))
    files: dict[str, bytes | Path] = {f"data/{path.name}": path for path in folder.data_files.values()}
    files |= _described(shown) | {"README.md": card.encode()}
    files = checked_files(folder, files, redacted=wishes.redact, keep_private=wishes.keep_personal)
    ours = {f"data/{split}.parquet" for split in ("train", "validation")} | FIGURES
    push = Push(
        repo_id,
        "dataset",
        files,
        stale=tuple(sorted((held & ours) - set(files))) if "README.md" in held else (),
        parent=parent,
        message=f"Add {folder.task.name} made by rebase_hf",
        tag=wishes.tag,
        private=wishes.private,
        reasons=reasons_for_private(api, folder),
    )
    check_push(api, push)
    return push


def prepare_student(
    api: "HfApi",
    folder: FinishedRun,
    repo_id: str,
    wishes: Wishes,
    *,
    dataset_id: str | None = None,
    dataset_comes: bool = False,
) -> Push:
    """Return what a push of a run's student sends; nothing is written.

    Args:
        dataset_comes: The dataset is not there yet, for it is sent just before: its absence says nothing.

    Raises:
        PublishError: It may not be sent, or not there.
    """
    prove(api, repo_id, "model")
    folder = _with_teacher(api, folder, wishes)
    check_student_license(folder, repo_id)
    shown = redacted_run(folder) if wishes.redact else folder
    parent, held = repo_state(api, repo_id, "model")
    card = render_student_card(shown, repo_id=repo_id, dataset_id=dataset_id)
    files = student_files(folder.path / "student")
    if "task.yaml" in files:
        files["task.yaml"] = _task_yaml(shown)
    files |= _as_files(draw_student_figures(shown))
    files |= {"README.md": merge_card(card, _old_student_card(api, repo_id, parent, held)).encode()}
    files = checked_files(folder, files, redacted=wishes.redact, keep_private=wishes.keep_personal)
    earlier = read_manifest(api, repo_id, parent, held)
    push = Push(
        repo_id,
        "model",
        files,
        stale=tuple(sorted(((held & FIGURES) - set(files)) | left_by_earlier(earlier, held, files))),
        parent=parent,
        message=f"Add the {folder.task.name} student made by rebase_hf",
        tag=wishes.tag,
        private=wishes.private,
        reasons=reasons_for_private(api, folder, None if dataset_comes else dataset_id),
    )
    check_push(api, push)
    return push


def _old_student_card(api: "HfApi", repo_id: str, parent: str | None, held: set[str]) -> str | None:
    """Return the card that is there; where a trainer wrote over ours, with what people wrote into ours."""
    theirs = read_card(api, repo_id, "model", parent, held)
    if theirs is None or is_ours(theirs):
        return theirs
    ours = last_card(api, repo_id, "model", is_ours)
    return theirs if ours is None else continue_card(ours, theirs, repo_id=repo_id)


def _check_license(folder: FinishedRun) -> None:
    if problems := folder.license.problems:
        remedy = (
            "Take these sources out of the index (`rebase-hf index remove INDEX NAME`, or build it with `--license` "
            "and the licences that you allow) and generate anew; what is answered is in the journal."
        )
        foreign = tuple(source for source in folder.sources if source not in folder.own_sources)
        if not derive_license(source_licenses(foreign)).problems:
            remedy = "The teacher's licence is what does not fit: correct --teacher-license, or take another teacher."
        raise PublishError(f"{folder.path} may not be published: {'; '.join(problems)}. {remedy}")


def _with_teacher(api: "HfApi", folder: FinishedRun, wishes: Wishes) -> FinishedRun:
    """Return the run with what is known of its models' licences; where nobody said, the teacher's card is asked."""
    folder = with_models_looked_up(api, folder)
    teacher = folder.report.get("teacher") or {}
    if wishes.teacher_license is not None or teacher.get("license") or teacher.get("kind") in ("few-shot", "none"):
        return folder
    found = folder.with_teacher_license(look_up(api, teacher.get("model")))
    _check_license(found)
    return found


def _described(folder: FinishedRun) -> dict[str, bytes | Path]:
    report = json.dumps(public(folder.report), indent=2, ensure_ascii=False) + "\n"
    drawn = _as_files(draw_figures(folder))
    return {"report.json": report.encode(), "task.yaml": _task_yaml(folder), **drawn}


def _as_files(drawn: Mapping[str, str]) -> dict[str, bytes | Path]:
    return {f"figures/{name}.svg": standalone(svg).encode() for name, svg in figure_files(drawn).items()}


def _task_yaml(folder: FinishedRun) -> bytes:
    """The task without the local files that it names."""
    return folder.task.to_yaml().encode()
