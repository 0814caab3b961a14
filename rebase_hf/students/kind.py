"""What a kind of student is: which tasks it does, what it needs, and how it is trained and loaded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rebase_hf.errors import StudentError, TaskError, require
from rebase_hf.named_options import read_options
from rebase_hf.students.student import Student
from rebase_hf.task import Kind


def _nothing(options: Any) -> Mapping[str, str]:
    return {}


def _no(options: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class StudentKind:
    """A kind of student.

    Attributes:
        does: The kinds of task that it can do.
        needs: The modules that it is trained with, and the extra that installs each.
        default_model: What it is trained from when nobody says.
        options: A frozen dataclass of what can be set, each with a default.
        train: `train(task, rows, base_model=, seed=, max_pairs=, options=)` returns the student, of rows that are
            ready; `max_pairs` is how many pairs, or rows, it is shown.
        load: `load(saved)` returns it again.
        check: `check(base_model, options)` raises StudentError where it can't be trained from that model, as far as
            its configuration says; before anything is paid.
        options_need: The modules that some of its options need besides.
        reads_index: `index=` is given to both `train` and `load`: where it finds its passages.
        learns_rationales: Whether by its options it can't do with rows of which none has a rationale.
        each_rationale: It learns every rationale of an input, not the first alone.
    """

    name: str
    does: tuple[Kind, ...]
    needs: Mapping[str, str]
    default_model: str
    options: type
    train: Callable[..., Student]
    load: Callable[..., Student]
    check: Callable[[str, Any], None]
    options_need: Callable[[Any], Mapping[str, str]] = _nothing
    reads_index: bool = False
    learns_rationales: Callable[[Any], bool] = _no
    each_rationale: bool = False

    def read_options(self, given: Any) -> Any:
        """Return the kind's options: from a mapping, whose values may be texts, or as they are.

        Raises:
            StudentError: A name or a value is wrong.
        """
        try:
            return read_options(self.options, given or None, f"Student kind `{self.name}`")
        except TaskError as error:
            raise StudentError(str(error)) from error

    def require(self, options: Any) -> None:
        """Raise where what it is trained with is not installed.

        Raises:
            MissingExtraError: With the line that installs it.
        """
        for module, extra in {**self.needs, **self.options_need(options)}.items():
            require(module, what=f"Student kind `{self.name}`", extra=extra)


def check_number(name: str, value: Any, low: float, high: float = float("inf"), *, whole: bool = False) -> None:
    """Raise where an option's number is not within a range.

    Raises:
        StudentError: It is not, or is no number, or no whole one where that is wanted.
    """
    fitting = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not fitting or not low <= value <= high:
        wanted = f"from {low:.10g} to {high:.10g}" if high < float("inf") else f"of at least {low:g}"
        raise StudentError(f"Option `{name}` is {value!r}; expected a {'whole ' * whole}number {wanted}.")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise where an option is none of its choices.

    Raises:
        StudentError: It is not.
    """
    if value not in choices:
        raise StudentError(f"Option `{name}` is {value!r}; expected one of {', '.join(choices)}.")
