"""What a student was started from, and under which licences: told on its card, and counted into its own licence."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import PublishError
from rebase_hf.public_text import public_name
from rebase_hf.publish.finished_run import FinishedRun, is_hub_id
from rebase_hf.publish.licenses import License, with_base_models
from rebase_hf.publish.teacher_card import look_up, model_license
from rebase_hf.publish.teacher_terms import TeacherLicense, few_shot_base, naming_duty, terms_of_models_made_from

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

KEY = "base_models"
STUDENT, RERANKER = "base model", "reranker's base model"
STATIC = "static:"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A model that a student, or a part of it, was started from.

    Attributes:
        role: `base model`, or of which part.
        name: A Hub id, or the last part of a folder's path.
        is_local: It was a folder of the machine that trained, which nobody else can look up by its name.
        license: What is known of its licence.
    """

    role: str
    name: str
    is_local: bool
    license: TeacherLicense

    @property
    def hub_id(self) -> str | None:
        """Its id on the Hub; None for a folder, whatever its name looks like."""
        return self.name if not self.is_local and is_hub_id(self.name) else None

    def sentence(self) -> str:
        """Return what a card says of it and of its licence, in Markdown."""
        name = f"{self.role.capitalize()}: `{self.name.replace('`', '')}`"
        where = f"{name}, a folder of the machine that trained the student" if self.is_local else name
        if not self.license.identifier:
            return f"{where}. Its licence is not known, and may ask for more than the data's."
        return f"{where}. {self.license.said(terms_of_models_made_from(self.license.identifier))}"

    def to_report(self) -> dict[str, Any]:
        """Return what `report.json` says of it."""
        return {"role": self.role, "name": self.name, "local": self.is_local, **self.license.to_report()}


def describe_base_models(specs: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what `report.json` says under `base_models` of the models that a student is trained from.

    Their licences are what the card in their folder or in the cache says; where neither does, the Hub is asked, from
    which the model came.

    Args:
        specs: By role, a folder or a Hub id.
    """
    return [_described(role, spec.removeprefix(STATIC)).to_report() for role, spec in specs.items()]


def _described(role: str, spec: str) -> BaseModel:
    folder = Path(spec)
    name = folder.resolve().name if folder.is_dir() else spec
    return BaseModel(role, name, folder.is_dir(), model_license(spec))


def base_models_of(folder: FinishedRun) -> tuple[BaseModel, ...]:
    """Return what a run's student was started from, as its own files and the report say, itself first."""
    reranker = (folder.training.get("reranker") or {}).get("base_model")
    names = {STUDENT: folder.base_model, RERANKER: public_name(str(reranker)) if reranker else None}
    # Of another student, which this one has replaced, nothing is taken.
    told = {(one["role"], public_name(str(one["name"]))): one for one in folder.report.get(KEY) or ()}
    return tuple(
        BaseModel(role, name, bool(held.get("local")), TeacherLicense.read(held))
        for role, name in names.items()
        if name is not None
        for held in (told.get((role, name), {}),)
    )


def student_license(folder: FinishedRun) -> License:
    """Return the licence that a run's student may be published under: of data, teacher and base models the strictest.

    Where a base model's is not known, `unknown`: a student's weights are made from the base model's.
    """
    return with_base_models(folder.license, {base.role: base.license.identifier for base in base_models_of(folder)})


def built_with(folder: FinishedRun) -> tuple[str, str] | None:
    """Return how a student's name must begin and what must be displayed, where a licence of Llama asks for it."""
    asked = [naming_duty(base.license.identifier) for base in base_models_of(folder)]
    if not folder.is_self_training:
        asked.append(naming_duty(TeacherLicense.of(folder.report).identifier, by_outputs=True))
    return next(filter(None, asked), None)


def with_models_looked_up(api: "HfApi", folder: FinishedRun) -> FinishedRun:
    """Return a run with what the Hub says of the models that its student and its few-shot teacher were trained from.

    What the run itself knows of their licences is not asked for.
    """
    report: dict[str, Any] = dict(folder.report)
    if bases := base_models_of(folder):
        report[KEY] = [_looked_up(api, base).to_report() for base in bases]
    teacher = report.get("teacher") or {}
    if teacher.get("kind") == "few-shot" and not teacher.get("license"):
        report["teacher"] = {**teacher, **look_up(api, few_shot_base(teacher)).to_report()}
    return FinishedRun(folder.path, report, folder.task)


def _looked_up(api: "HfApi", base: BaseModel) -> BaseModel:
    if base.license.identifier is not None or base.hub_id is None:
        return base
    return replace(base, license=look_up(api, base.hub_id))


def check_student_license(folder: FinishedRun, repo_id: str) -> None:
    """Raise where a run's student may not be published; warn where its name is not as a licence asks.

    Raises:
        PublishError: The licences of training data and base model do not fit together.
    """
    if problems := student_license(folder).problems:
        raise PublishError(
            f"The student of {folder.path} may not be published: {'; '.join(problems)}. Train it from another base "
            f"model: rebase-hf train {folder.path} --base-model MODEL"
        )
    asked = built_with(folder)
    if asked and not repo_id.rsplit("/", 1)[-1].lower().startswith("llama"):
        logger.warning(
            "%s: a licence that the student stands under asks that its name begin with `%s`.", repo_id, asked[0]
        )
