"""A model's licence, from its card: in a local folder, in the cache, or on the Hub."""

import logging
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.embedding_model import DEFAULT_MODEL, find_embedding_model
from rebase_hf.publish.finished_run import is_hub_id
from rebase_hf.publish.teacher_terms import TeacherLicense
from rebase_hf.teacher.asking import TeacherIdentity
from rebase_hf.teacher.target import Teacher, is_hugging_faces

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

SECONDS = 10.0


def teacher_license(teacher: Teacher, identity: TeacherIdentity) -> TeacherLicense:
    """Return a teacher's licence before it is asked, from what is here; unknown where no card says it.

    The Hub is asked only of a teacher that Hugging Face hosts: beside a teacher on this machine or in somebody's own
    house nobody else is spoken to. What is unknown here is looked up when the run is published.
    """
    if teacher.kind == "none":
        return TeacherLicense()
    if teacher.kind == "few-shot":  # what it is trained from came from the Hub, or lies here
        return model_license(teacher.model or DEFAULT_MODEL)
    folder = Path(teacher.location)
    if teacher.kind == "local" and folder.is_dir():
        return _of_file(folder / "README.md")
    if not is_hub_id(identity.model):
        return TeacherLicense()
    found = _of_cache(identity.model, identity.revision)
    if found.identifier is None and is_hugging_faces(teacher):
        from huggingface_hub import HfApi

        return look_up(HfApi(), identity.model)
    return found


def model_license(spec: str) -> TeacherLicense:
    """Return the licence of a model that something is trained from: as the card beside it says, or the one on the Hub.

    Args:
        spec: A folder, of which nobody is asked but the card in it; or a Hub id.
    """
    folder = Path(find_embedding_model(spec))
    found = _of_file(folder / "README.md") if folder.is_dir() else TeacherLicense()
    if found.identifier is not None or Path(spec).is_dir() or not is_hub_id(spec):
        return found
    from huggingface_hub import HfApi

    cached = _of_cache(spec)
    return cached if cached.identifier is not None else look_up(HfApi(), spec)


def look_up(api: "HfApi", model: str | None) -> TeacherLicense:
    """Return what a model's card on the Hub says of its licence; unknown where it says none or can't be read."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    transport = import_module("httpx2" if find_spec("httpx2") else "httpx").HTTPError
    if model is None or not is_hub_id(model):
        return TeacherLicense()
    try:
        card = api.model_info(model, timeout=SECONDS).card_data
    except (HfHubHTTPError, OfflineModeIsEnabled, transport, OSError) as error:
        logger.debug("The card of %s could not be read: %s", model, error)
        return TeacherLicense()
    return _of_metadata({} if card is None else card.to_dict())  # type: ignore[no-untyped-call]


def _of_cache(model: str, revision: str | None = None) -> TeacherLicense:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "README.md", revision=revision)
    return _of_file(Path(found)) if isinstance(found, str) else TeacherLicense()


def _of_file(card: Path) -> TeacherLicense:
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    try:
        text = card.read_text(encoding="utf-8", errors="replace")
        return _of_metadata(ModelCard(text, ignore_metadata_errors=True).data.to_dict())  # type: ignore[no-untyped-call]
    except (OSError, ValueError, YAMLError) as error:
        logger.debug("%s says no licence: %s", card, error)
        return TeacherLicense()


def _of_metadata(metadata: Any) -> TeacherLicense:
    held = metadata.get("license")
    names = [held] if isinstance(held, str) else held if isinstance(held, list) else []
    if len(names) != 1 or not isinstance(names[0], str) or names[0].strip().lower() in ("", "unknown"):
        return TeacherLicense()
    name, link = (metadata.get(key) for key in ("license_name", "license_link"))
    name, link = (value if isinstance(value, str) else None for value in (name, link))
    return TeacherLicense(names[0].strip().lower(), name, link, found="card")
