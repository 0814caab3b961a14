"""What a SetFit student in its embedding phase says of rows: its body as it is, with a head fitted on these rows.

SetFit trains its body first and its head at the very end, so that during training there is none to ask. What it would
be, if the body stayed as it is, is its body with a head fitted on what that says of the rows: SetFit's own last step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rebase_hf.errors import StudentError
from rebase_hf.setfit_training import new_head
from rebase_hf.students.row_figures import RowFigures, fetch_rows


def setfit_figures(
    dataset: Any, rows: Sequence[int], *, model: Any, batch_size: int, column_mapping: Mapping[str, str] | None = None
) -> RowFigures:
    """Return the figures of some rows by a SetFitModel whose head is yet to be trained; its head stays as it is.

    Args:
        dataset: Map-style, with a text and one label a row.
        column_mapping: As SetFit's: which columns are `text` and `label`.

    Raises:
        StudentError: As `check_setfit_rows` says.
    """
    texts, labels = check_setfit_rows(dataset, rows, model=model, column_mapping=column_mapping)
    numbers = np.unique(np.asarray(labels), return_inverse=True)[1]
    body = model.model_body
    training = body.training
    try:
        vectors = body.encode(
            texts,
            batch_size=batch_size,
            normalize_embeddings=model.normalize_embeddings,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
    finally:
        body.train(training)
    said = _fresh_head(model.model_head).fit(vectors, numbers).predict_proba(vectors)
    return figures_of(said, numbers)


def check_setfit_rows(
    dataset: Any, rows: Sequence[int], *, model: Any, column_mapping: Mapping[str, str] | None
) -> tuple[list[str], list[Any]]:
    """Return the texts and labels of rows that a SetFitModel's head can be fitted on.

    Raises:
        StudentError: There is no such column, or not one label a row, or only one label.
    """
    texts, labels = text_and_label(fetch_rows(dataset, rows), column_mapping)
    if model.multi_target_strategy is not None:
        raise StudentError("This SetFit model gives several labels a row; a callback judges rows of one label.")
    if len(set(labels)) < 2:
        raise StudentError(f"All rows have the label `{labels[0]}`; a head needs rows of two labels at least.")
    return texts, labels


def figures_of(said: np.ndarray, labels: np.ndarray) -> RowFigures:
    """Return the figures of rows from the probability of each label, (rows, labels), and their own labels' numbers."""
    said = np.asarray(said, dtype=np.float64)
    gold = said[np.arange(len(labels)), labels]
    ordered = np.sort(said, axis=1)
    return RowFigures(
        loss=-np.log(np.maximum(gold, np.finfo(np.float64).tiny)),
        gold=gold,
        correct=said.argmax(axis=1) == labels,
        margin=ordered[:, -1] - ordered[:, -2],
        label=np.asarray(labels, dtype=np.int64),
    )


def text_and_label(
    rows: Sequence[Mapping[str, Any]], column_mapping: Mapping[str, str] | None
) -> tuple[list[str], list[Any]]:
    """Return the texts and labels of rows.

    Raises:
        StudentError: A column is missing, or a label is no single one.
    """
    names = {target: column for column, target in (column_mapping or {}).items()}
    found = {}
    for target in ("text", "label"):
        column = names.get(target, target)
        if lacking := [row for row in rows if column not in row]:
            held = ", ".join(f"`{name}`" for name in lacking[0])
            raise StudentError(
                f"The dataset that the callback is given has no `{column}`; it has {held}. Give it SetFit's "
                "columns `text` and `label`, or the `column_mapping` that SetFit's Trainer has."
            )
        found[target] = [row[column] for row in rows]
    if not isinstance(found["label"][0], int | str):
        raise StudentError(f"Label {found['label'][0]!r} is no name or number; a callback judges rows of one label.")
    return found["text"], found["label"]


def _fresh_head(head: Any) -> Any:
    """Return an unfitted head like a model's own; a logistic regression for one that gives no probabilities."""
    from sklearn.base import clone

    known = hasattr(head, "get_params") and hasattr(head, "predict_proba")
    return clone(head) if known else new_head()
