"""What stands at an address, and what was last seen there, for when nothing answers."""

import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rebase_hf.home import rebase_home
from rebase_hf.teacher.asking import TeacherIdentity
from rebase_hf.teacher.target import DialectName, Teacher, shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """What stands at an address.

    Attributes:
        url: Its address, without credentials.
        model: What a request names as the model; usually the identity's model.
        max_concurrency: Most requests that it takes at once, where it says so.
    """

    identity: TeacherIdentity
    url: str
    dialect: DialectName
    model: str
    max_concurrency: int | None = None


def _seen_path() -> Path:
    return rebase_home() / "endpoints.json"


def _seen_key(teacher: Teacher) -> str:
    return " ".join(filter(None, (shown(teacher.target), teacher.model, teacher.dialect)))


def _read_seen() -> dict[str, Any]:
    try:
        seen = json.loads(_seen_path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("Could not read %s (%s); which models were seen where is forgotten.", _seen_path(), error)
        return {}
    return seen if isinstance(seen, dict) else {}


def last_seen(teacher: Teacher) -> Served | None:
    """Return what stood at a teacher's address when it last answered, or None."""
    entry = _read_seen().get(_seen_key(teacher))
    if entry is None:
        return None
    return Served(**{**entry, "identity": TeacherIdentity(**entry["identity"])})


def remember(teacher: Teacher, served: Served) -> None:
    """Note what stands at a teacher's address."""
    seen = _read_seen()
    entry = asdict(served)
    if seen.get(_seen_key(teacher)) == entry:
        return
    seen[_seen_key(teacher)] = entry
    path = _seen_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(seen, file, indent=1)
        os.replace(file.name, path)
    except OSError as error:
        logger.warning("Could not note in %s which model was seen where: %s.", path, error)
