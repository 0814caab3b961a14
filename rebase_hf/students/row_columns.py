"""Columns of a map-style dataset beside those that a model is given: where rows come from, what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.rows import source_address
from rebase_hf.students.row_figures import fetch_rows
from rebase_hf.task import Task


def check_map_style(dataset: Any, what: str = "The callback's dataset") -> None:
    """Raise StudentError for what has no rows that can be counted and looked up."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise StudentError(
            f"{what} is a {type(dataset).__name__}; a callback needs rows that can be counted and looked up, "
            "such as a Dataset's: no stream, and one split."
        )
    if isinstance(dataset, Mapping) or not len(dataset):
        held = f"the splits {', '.join(map(str, dataset))}" if isinstance(dataset, Mapping) else "no rows"
        raise StudentError(f"{what} has {held}; a callback needs the rows of one split.")


def column_values(dataset: Any, column: str) -> list[Any]:
    """Return a column's values; `a.b` is the field `b` of the struct `a`.

    Raises:
        StudentError: There is no such column.
    """
    plain = dataset.with_format(None) if hasattr(dataset, "with_format") else dataset
    names = column_names(dataset)
    outer, _, inner = column.partition(".") if column not in names else (column, "", "")
    if outer not in names:
        raise StudentError(
            f"The dataset has no column `{outer}`; it has {', '.join(f'`{name}`' for name in names)}. Keep it when "
            "you prepare the rows: `map` does, as long as `remove_columns` does not take it."
        )
    values = plain[outer] if hasattr(plain, "column_names") else [plain[row][outer] for row in range(len(plain))]
    return [_field(value, inner, column) for value in values] if inner else list(values)


def column_names(dataset: Any) -> list[str]:
    """Return the names of all columns, whatever a dataset's format shows of them."""
    return list(getattr(dataset, "column_names", None) or fetch_rows(dataset, [0])[0])


def input_rows(task: Task, dataset: Any) -> list[dict[str, str]]:
    """Return what each row says: the task's inputs.

    Raises:
        StudentError: A column is missing, or a value is no text.
    """
    columns = {name: column_values(dataset, name) for name in task.inputs}
    for name, values in columns.items():
        if (strange := next((value for value in values if not isinstance(value, str)), None)) is not None:
            raise StudentError(f"Column `{name}` holds {strange!r:.80}; expected texts, as the task's inputs are.")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def source_addresses(dataset: Any) -> list[str]:
    """Return the source rows that rows were made from, as far as a column `provenance` says so."""
    if "provenance" not in column_names(dataset):
        return []
    told = column_values(dataset, "provenance")
    return [source_address(one) for one in told if isinstance(one, Mapping) and one.get("dataset") is not None]


def spread_rows(groups: Sequence[str], most: int) -> list[int]:
    """Return the numbers of at most `most` rows, evenly many of each group and evenly spread over it, in order.

    Raises:
        StudentError: Not every group could have one.
    """
    members: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    if most < len(members):
        raise StudentError(
            f"max_rows is {most}, and the rows are from {len(members)} sources, of each of which one is looked at at "
            f"least. Give {len(members)} or more."
        )
    chosen: list[int] = []
    left = most
    for place, group in enumerate(sorted(members, key=lambda group: len(members[group]))):
        own = members[group]
        count = min(len(own), left // (len(members) - place))
        left -= count
        chosen += [own[step * len(own) // count] for step in range(count)]
    return sorted(chosen)


def _field(value: Any, inner: str, column: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, Mapping) or inner not in value:
        raise StudentError(f"Column `{column}` is not there: a row has {value!r:.80}. Name another with column=.")
    return value[inner]
