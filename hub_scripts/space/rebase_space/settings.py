"""What whoever runs the Space decides, by environment variables, and the index that follows from it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rebase_hf import RowIndex, Task, Teacher
from rebase_hf.errors import RebaseError
from rebase_hf.home import rebase_home
from rebase_space.form import MIN_ROWS

logger = logging.getLogger(__name__)

SPACE = Path(__file__).resolve().parent.parent
SAMPLE = "support-triage"
MAX_EXAMPLES = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """How the Space runs.

    Attributes:
        index: A Hub id or a folder; None indexes the example bank.
        max_examples: The most that one visitor may ask for at once.
        runs_at_once: Datasets that are made at the same time; others wait in the queue.
        max_seconds: A run that takes longer is ended.
    """

    index: str | None
    teacher: Teacher
    max_examples: int = MAX_EXAMPLES
    runs_at_once: int = 1
    max_seconds: float = 900.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Return what the variables say (README.md lists them).

        Raises:
            RebaseError: A number is none, or the teacher can't be one.
        """
        held = {name: value.strip() for name, value in environment.items() if value.strip()}
        try:
            teacher = Teacher(
                held.get("REBASE_TEACHER", "few-shot"),
                model=held.get("REBASE_TEACHER_MODEL"),
                api_key_env=held.get("REBASE_TEACHER_KEY_ENV"),
            )
        except TypeError as error:
            raise RebaseError(f"REBASE_TEACHER: {error}") from error
        _ = teacher.kind  # one that is not known is refused now
        return cls(
            index=held.get("REBASE_INDEX"),
            teacher=teacher,
            max_examples=_number(held, "REBASE_MAX_EXAMPLES", MAX_EXAMPLES, MIN_ROWS),
            runs_at_once=_number(held, "REBASE_RUNS_AT_ONCE", 1),
        )

    @property
    def is_free(self) -> bool:
        """Whether asking the teacher costs nothing but time."""
        return self.teacher.kind == "few-shot"


def find_examples() -> Path | None:
    """Return the folder of sample bank and tasks: beside the app, as in a Space, or in the checkout around it."""
    for folder in (SPACE / "examples", SPACE.parent.parent / "examples"):
        if (folder / SAMPLE / "task.yaml").is_file():
            return folder
    return None


def sample_task(examples: Path) -> Task:
    """Return the task that the form is filled with: the sample's, without its evaluation rows."""
    content = Task.load(examples / SAMPLE).to_dict()
    content.pop("evaluation", None)
    return Task.load(content)


def open_index(settings: Settings, examples: Path | None) -> RowIndex:
    """Return the index to retrieve from, with its encoder loaded.

    The example bank is indexed once and kept under the rebase home; while nothing in it changes, a later start only
    opens that.

    Raises:
        RowIndexError: It can't be opened or built.
        RebaseError: None is named, and there is no example bank.
    """
    if settings.index:
        index = RowIndex.open(settings.index)
    elif examples is None:
        raise RebaseError(
            "There is nothing to retrieve from: REBASE_INDEX is not set, and there is no folder `examples` beside "
            "app.py. Set REBASE_INDEX to an index's Hub id, or copy the project's `examples` there."
        )
    else:
        logger.info("Indexing the example bank; a later start finds it done.")
        index = RowIndex.build(rebase_home() / "space" / "index", [str(path) for path in sorted(bank(examples))])
    _ = index.encoder  # the first visitor shall not wait for it
    return index


def bank(examples: Path) -> list[Path]:
    """Return the folders of the example bank's datasets."""
    return [path for path in (examples / "bank").iterdir() if path.is_dir()]


def _number(held: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    text = held.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise RebaseError(f"{name} is `{text}`; expected a whole number from {least} on.")
    return int(text)
