"""What a kind of student is: which tasks it does, what it needs, and how it is trained and loaded."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, get_type_hints

from rebase_hf.errors import StudentError, TaskError, require
from rebase_hf.methods.method import read_value
from rebase_hf.students.saving import SavedStudent
from rebase_hf.students.student import Student, TrainingRow
from rebase_hf.task import Kind, Task


class Train(Protocol):
    """Trains a student on rows that are ready."""

    def __call__(
        self,
        task: Task,
        rows: Sequence[TrainingRow],
        *,
        base_model: str | None,
        seed: int,
        max_pairs: int,
        options: Any,
    ) -> Student:
        """Return the student; `max_pairs` is how many pairs, or rows, it is shown."""


def _nothing(options: Any) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class StudentKind:
    """A kind of student.

    Attributes:
        does: The kinds of task that it can do.
        needs: The modules that it is trained with, and the extra that installs each.
        default_model: What it is trained from when nobody says.
        options: A frozen dataclass of what can be set, each with a default.
        options_need: The modules that some of its options need besides.
    """

    name: str
    does: tuple[Kind, ...]
    needs: Mapping[str, str]
    default_model: str
    options: type
    train: Train
    load: Callable[[SavedStudent], Student]
    options_need: Callable[[Any], Mapping[str, str]] = _nothing

    def read_options(self, given: Mapping[str, Any]) -> Any:
        """Return the kind's options; values may be texts, as a command line gives them.

        Raises:
            StudentError: A name or a value is wrong.
        """
        hints = get_type_hints(self.options)
        known = [field.name for field in fields(self.options)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"its options are {', '.join(known)}."
                raise StudentError(f"A `{self.name}` student has no option `{name}`; {hint}")
        try:
            return self.options(**{name: read_value(name, value, hints[name]) for name, value in given.items()})
        except TaskError as error:
            raise StudentError(f"A `{self.name}` student: {error}") from error

    def require(self, options: Any) -> None:
        """Raise where what it is trained with is not installed.

        Raises:
            MissingExtraError: With the line that installs it.
        """
        for module, extra in {**self.needs, **self.options_need(options)}.items():
            require(module, what=f"A `{self.name}` student", extra=extra)


def check_number(name: str, value: Any, low: float, high: float = float("inf")) -> None:
    """Raise where an option's number is not within a range.

    Raises:
        StudentError: It is not, or is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        wanted = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"
        raise StudentError(f"Option `{name}` is {value!r}; expected a number {wanted}.")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise where an option is none of its choices.

    Raises:
        StudentError: It is not.
    """
    if value not in choices:
        raise StudentError(f"Option `{name}` is {value!r}; expected one of {', '.join(choices)}.")
