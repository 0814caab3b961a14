"""What a method is: which questions to ask for a task, and how its answers become examples."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from rebase_hf.errors import TaskError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.consulting import Consultant
from rebase_hf.named_options import read_options
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.questions import Dialogue, one_example
from rebase_hf.rows import Completion, Draft, Dropped
from rebase_hf.task import Task


@dataclass(frozen=True, slots=True)
class Ground:
    """All that a method works on.

    Attributes:
        index: None for a method that retrieves nothing.
        guard: What the evaluation set says.
        options: The method's options.
        num_examples: How many examples are wanted.
        consult: A trained model whose labels go into the teacher's prompts; None for none.
    """

    task: Task
    index: RowIndex | None
    guard: EvaluationGuard
    options: Any
    num_examples: int
    seed: int = 0
    consult: Consultant | None = None

    @property
    def rows(self) -> RowIndex:
        """The index.

        Raises:
            TaskError: There is none.
        """
        if self.index is None:
            raise TaskError("This method retrieves rows; give an index: a folder, a Hub id, or a list of sources.")
        return self.index


def _one_example(ground: Ground, draft: Draft) -> Dialogue:
    return one_example(ground.task, draft)


Preparation = Generator[tuple[Draft, ...], tuple[Completion, ...], Any]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to make examples.

    Attributes:
        paper: Where it is described.
        options: A frozen dataclass; what it has no default for, nobody can leave out.
        drafts: Yields, in the order in which examples are decided on, what to ask about, or why nothing is asked.
            Takes what `prepare` gave; None where that is not known, for an estimate.
        dialogue: What is asked about a draft, and what comes of it.
        prepare: What is asked once, before all else.
        report: What `report.json` says besides, of what `prepare` gave; that is None where it is not known any more.
        check: Raises TaskError where a task or its options do not fit, before anything is paid.
        asks_about: What drafts are about, as a person counts them.
        needs_index: It retrieves, with these options.
        needs_teacher: It asks.
        labels_rows: A teacher that only labels retrieved rows will do.
        gives_passages: Its examples hold the passages that were retrieved for them.
        label_shares: What share of the examples each label is to have, exactly; None where labels come as they come.
        gives_rationales: Its examples hold rationales, also where the task's own have none.
        repeats_inputs: It makes several examples of one input, which differ in their rationales.
        consults: Whether it puts what a trained model says into the teacher's prompts, where one is given.
        outputs_each: How many examples one draft is asked for.
        questions_each: How many questions a draft takes, when the answers can be read.
    """

    name: str
    options: type
    drafts: Callable[[Ground, Any], Iterator[Draft | Dropped]]
    paper: str | None = None
    dialogue: Callable[[Ground, Draft], Dialogue] = _one_example
    prepare: Callable[[Ground], Preparation] | None = None
    report: Callable[[Ground, Any], Mapping[str, Any]] | None = None
    check: Callable[[Task, Any], None] = field(default=lambda task, options: None)
    asks_about: Literal["retrieved rows", "questions", "texts to write"] = "retrieved rows"
    needs_index: Callable[[Any], bool] = field(default=lambda options: True)
    needs_teacher: bool = True
    labels_rows: bool = False
    gives_passages: bool = False
    gives_rationales: bool = False
    label_shares: Callable[[Task, Any], Mapping[str, float] | None] = field(default=lambda task, options: None)
    repeats_inputs: bool = False
    consults: Callable[[Any], bool] = field(default=lambda options: False)
    outputs_each: Callable[[Any], int] = field(default=lambda options: 1)
    questions_each: Callable[[Any], int] = field(default=lambda options: 1)

    def read_options(self, given: Any) -> Any:
        """Return the method's options.

        Args:
            given: None for its defaults, its options, or a mapping; values in it may be texts, as a command line
                gives them.

        Raises:
            TaskError: They are another method's, or a name or value is wrong.
        """
        return read_options(self.options, given, f"Method `{self.name}`")


def told_options(options: Any) -> dict[str, Any]:
    """Return a method's options as a run is known by and reports them; a function given in code by its `name`."""
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    return {name: value.name if callable(value) else value for name, value in values.items()}


def require_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise where an option's number is not within a range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise TaskError(f"Option `{name}` is {value!r}; expected a number from {low:g} to {high:g}.")


def refuse_idle(options: Any, names: Sequence[str], needs: str) -> None:
    """Raise where an option is set that does nothing beside the others; one left at its default never is.

    Args:
        names: The options that do nothing.
        needs: What they would do something with.

    Raises:
        TaskError: One of them has another value than its default.
    """
    for one in fields(options):
        if one.name in names and (value := getattr(options, one.name)) != one.default:
            raise TaskError(
                f"Option `{one.name}` is {value!r}, and does nothing here: it needs {needs}. Set that, or leave "
                f"`{one.name}` out."
            )
