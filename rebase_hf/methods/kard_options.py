"""How KARD's rationales and passages are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rebase_hf.errors import TaskError
from rebase_hf.methods.method import refuse_idle, require_range
from rebase_hf.methods.popularity import question_popularity
from rebase_hf.task import Task


class Reader(Protocol):
    """A model in this process that reads rationales, in the teacher's place. It answers while nothing else does."""

    @property
    def name(self) -> str:
        """What a run knows it by: another name is another run."""

    def __call__(self, texts: Sequence[str]) -> Sequence[str]:
        """Return the answer that follows on each text: a question and a rationale, up to the word `Answer:`."""


@dataclass(frozen=True, slots=True)
class KARDOptions:
    """How rationales and passages are made.

    Attributes:
        rationales: Draws for each question.
        passages: Passages of each example.
        verify: Who reads a rationale: `teacher`; `none`, which keeps all; or, in code, a `Reader`.
        knowledge: Retrieve passages; without, it is reasoning distillation.
        shots: Explained examples of the task in a prompt, at most; a question is not shown its own.
        temperature: Of the rationales. 0.7 is ours: draws must differ; what the paper used is not known.
        adaptive: Decide by a development split for which questions passages are of use (`adaptive.py`); the others'
            examples have none, and the student asks for none either.
        development: Questions of that split; they are asked about twice, and make no examples.
        popularity_column: A column of the task's `train` rows that counts how popular is what they ask about, such as
            page views: `adaptive` then decides by it, as its paper does, and not by how near the nearest passage is.
        exclude_family: Take no passage from sources whose name says that the task's own data comes from them.
    """

    rationales: int = 10
    passages: int = 1
    verify: str | Reader = "teacher"
    knowledge: bool = True
    shots: int = 5
    temperature: float = 0.7
    adaptive: bool = False
    development: int = 50
    popularity_column: str | None = None
    exclude_family: bool = True


def check(task: Task, options: KARDOptions) -> None:
    """Raise TaskError where an option is wrong, or the task has a field of the name that passages stand under."""
    if "passages" in task.fields:
        raise TaskError(
            f"Task `{task.name}` has a field `passages`, and so has every example of this method: what was retrieved. "
            "Rename the field."
        )
    for name, low, high in (
        ("rationales", 1, 1000),
        ("passages", 1, 100),
        ("shots", 0, 50),
        ("development", 10, 10_000),
    ):
        if not isinstance(value := getattr(options, name), int):
            raise TaskError(f"Option `{name}` is {value!r}; expected a whole number.")
        require_range(name, value, low, high)
    require_range("temperature", options.temperature, 0.0, 2.0)
    if options.rationales > 1 and options.temperature == 0.0:
        raise TaskError(
            f"Option `temperature` is 0, so the {options.rationales} rationales of a question would all be the same. "
            "Give a temperature, or `rationales` 1."
        )
    if options.adaptive:
        _check_adaptive(task, options)
    else:
        refuse_idle(options, ("development", "popularity_column"), "`adaptive=true`")
    if not options.knowledge:
        refuse_idle(options, ("passages", "exclude_family"), "`knowledge=true`, with which passages are retrieved")
    named = isinstance(options.verify, str)
    if (named and options.verify not in ("teacher", "none")) or not (named or hasattr(options.verify, "name")):
        raise TaskError(
            f"Option `verify` is {options.verify!r}; expected `teacher`, `none`, or in code a function of texts that "
            "has a `name`."
        )


def _check_adaptive(task: Task, options: KARDOptions) -> None:
    if not options.knowledge:
        raise TaskError("Options `adaptive` and `knowledge=False`: without passages there is nothing to decide on.")
    if (rows := len(task.train_rows())) < 2 * options.development:
        raise TaskError(
            f"Option `adaptive` takes {options.development} labelled questions for its development split, and as many "
            f"others at least to learn from; task `{task.name}` has {rows} `train` rows. Name more under `train` in "
            "the task file, lower `development`, or leave `adaptive` out."
        )
    if options.popularity_column is not None:
        question_popularity(task, options.popularity_column)
