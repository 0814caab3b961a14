"""How ReBase takes rows and has them transformed."""

from dataclasses import dataclass

from rebase_hf.errors import TaskError
from rebase_hf.quality.duplicates import NEAR
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import ROW_CHARS


@dataclass(frozen=True, slots=True)
class ReBaseOptions:
    """How rows are taken; the defaults mend what the official code gets wrong.

    Attributes:
        junk_columns: Let booleans, numbers, ids and very short values compete for the best column, and labels for the
            input's, and ask with outputs that are such values.
        max_per_source: At most this many rows of one source dataset, all its configurations and splits together, are
            asked about; None is an eighth of the examples asked for (twice an even share, where the index has few
            datasets), and lifted when all else is used up; 0 is no limit.
        near_duplicate_rows: Similarity from which a row repeats one taken before; 1.0 leaves out equal rows only,
            None leaves out nothing.
        exclude_family: Leave out sources whose name says that the task's own data comes from them.
        guard_evaluation: Leave out rows that overlap the evaluation set, by words or by similarity.
        label_phrases: Labels without an example are searched for by their phrase.
        row_chars: Characters of a row that a prompt shows, before it is cut to its best columns.
        field_chars: Characters of each cell that a prompt shows; None cuts only what does not fit `row_chars`.
        plan: Have the teacher say once for each dataset how its rows become examples, and of each row whether it is of
            use at all (DataTune, arXiv 2404.14361).
        max_rows: Look at this many rows at most, those of the task's own family not counted; None is no limit (the
            paper takes the top 3,000).
        queries: Take the rows nearest to these texts, in turns, in place of those with the highest S: what a student
            gets wrong, say.
        exclude_rows: Leave out these rows, each named as `source_address` names it: those that were used before.
    """

    junk_columns: bool = False
    max_per_source: int | None = None
    near_duplicate_rows: float | None = NEAR
    exclude_family: bool = True
    guard_evaluation: bool = True
    label_phrases: bool = True
    row_chars: int = ROW_CHARS
    field_chars: int | None = None
    plan: bool = False
    max_rows: int | None = None
    queries: tuple[str, ...] | None = None
    exclude_rows: tuple[str, ...] = ()

    @classmethod
    def as_published(cls) -> "ReBaseOptions":
        """Return the official code's behaviour, its mistakes included; only its ban by name stays stricter here."""
        return cls(
            junk_columns=True,
            max_per_source=0,
            near_duplicate_rows=None,
            guard_evaluation=False,
            label_phrases=False,
            field_chars=250,
            max_rows=3000,
        )


def check_queries(task: Task, options: ReBaseOptions) -> None:
    """Raise TaskError for texts to search for that are none."""
    if options.queries is not None and not (options.queries and all(text.strip() for text in options.queries)):
        raise TaskError(f"Option `queries` is {options.queries!r:.80}; expected texts to search for, or None.")


def check(task: Task, options: ReBaseOptions) -> None:
    """Raise TaskError where the options do not fit the task."""
    if options.plan and "usable" in task.fields:
        raise TaskError(
            f"Option `plan` has the teacher say under `usable` whether a row serves, and task `{task.name}` has a "
            "field of that name. Rename the field, or leave `plan` out."
        )
    check_queries(task, options)
