"""What a student in training says of each row of a dataset: one forward pass over the rows asked for, and no more.

A Trainer hands its callbacks the model and the loader of its training rows, whose collator turns rows into a batch;
that is all that is needed. Every kind of student is looked at in one way: a row has positions (one for a class, two
for a span, one a token for a text), each with its own label and a score for every class.

    loss     mean cross-entropy over the row's positions
    gold     exp(-loss): the probability of the row's own label, of several positions their geometric mean
    correct  whether the own label is the likeliest, at every position
    margin   probability of the likeliest class less that of the next, mean over the positions

Several processes share the rows, and each gets the figures of all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rebase_hf.errors import StudentError
from rebase_hf.students.processes import gather_rows, share_of_rows

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
IGNORED = -100
# Scores that are gone over at once.
AT_ONCE = 2**24


@dataclass(frozen=True, slots=True)
class RowFigures:
    """What a student says of n rows; arrays of length n, as described above.

    Attributes:
        label: The number of each row's class; -1 where a row has several positions.
    """

    loss: Floats
    gold: Floats
    correct: NDArray[np.bool_]
    margin: Floats
    label: NDArray[np.int64]


def model_figures(dataset: Any, rows: Sequence[int], *, model: Any, dataloader: Any, batch_size: int) -> RowFigures:
    """Return the figures of some rows by a transformers model; weights, mode and random state are left as they are.

    Args:
        dataset: Map-style, with the columns that the training rows have; others are left out.
        rows: Their numbers in `dataset`.
        dataloader: The loader of the training rows.

    Raises:
        StudentError: The rows are not as the training rows, or have not one class a position.
    """
    import torch

    own = share_of_rows(rows)
    device = next(model.parameters()).device
    training = model.training
    parts = []
    model.eval()
    try:
        # A collator that draws (masks, noise) must not change what the training draws next.
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            for batch in _batches(dataset, own, dataloader, batch_size):
                placed = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
                parts.append(_figures(*_positions(model, model(**placed), placed)))
    finally:
        model.train(training)
    found = gather_rows(np.concatenate(parts), len(rows))
    if (silent := np.flatnonzero(np.isnan(found[:, 0]))).size:
        raise StudentError(
            f"Row {rows[int(silent[0])]} has no label that counts (all are {IGNORED}), so nothing can be said of it. "
            "Leave such rows out of the dataset that the callback is given."
        )
    return RowFigures(found[:, 0], np.exp(-found[:, 0]), found[:, 1] > 0, found[:, 2], found[:, 3].astype(np.int64))


def fetch_rows(dataset: Any, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return rows of a map-style dataset as dicts.

    Raises:
        StudentError: They are none.
    """
    several = getattr(dataset, "__getitems__", None)  # `datasets` reads many rows in one go
    rows = several(list(numbers)) if several is not None else [dataset[number] for number in numbers]
    if rows and not isinstance(rows[0], Mapping):
        raise StudentError(f"A row of the dataset is {type(rows[0]).__name__}; expected dicts of columns.")
    return [dict(row) for row in rows]


def _batches(dataset: Any, rows: Sequence[int], dataloader: Any, size: int) -> Iterator[Mapping[str, Any]]:
    """Yield batches, collated as the training rows are from the columns that these have."""
    names = list(fetch_rows(dataloader.dataset, [0])[0])
    for start in range(0, len(rows), size):
        chosen = fetch_rows(dataset, rows[start : start + size])
        if lacking := [name for name in names if name not in chosen[0]]:
            raise StudentError(
                f"The dataset that the callback is given has no `{lacking[0]}`, which the training rows have; it has "
                f"{', '.join(f'`{name}`' for name in chosen[0])}. Give it rows prepared as the training rows are: "
                "`map` keeps the other columns, as long as `remove_columns` does not take them."
            )
        yield dataloader.collate_fn([{name: row[name] for name in names} for row in chosen])


def _positions(model: Any, outputs: Any, batch: Mapping[str, Any]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the scores of each class, (rows, positions, classes), and the labels, (rows, positions)."""
    import torch

    outputs = outputs if isinstance(outputs, Mapping) else {}
    if "start_positions" in batch and "start_logits" in outputs:
        scores = torch.stack([outputs["start_logits"], outputs["end_logits"]], dim=1)
        labels = torch.stack([batch["start_positions"], batch["end_positions"]], dim=1)
        return scores, labels.masked_fill((labels < 0) | (labels >= scores.shape[-1]), IGNORED)
    scores, labels = outputs.get("logits"), batch.get("labels")
    if scores is None or labels is None:
        raise StudentError(
            f"`{type(model).__name__}` gives {', '.join(outputs) or 'nothing'} for rows with {', '.join(batch)}; "
            "a callback that judges rows needs `logits` and `labels`, or start and end of a span."
        )
    if scores.ndim == 2:
        scores, labels = scores[:, None], labels.reshape(len(labels), -1)
    elif getattr(model, "loss_type", None) == "ForCausalLM" and not model.config.is_encoder_decoder:
        scores, labels = scores[:, :-1], labels[:, 1:]  # position i predicts token i + 1
    if labels.is_floating_point() or scores.shape[-1] < 2 or scores.shape[:2] != labels.shape:
        raise StudentError(
            f"Labels are {labels.dtype} of shape {tuple(labels.shape)} for scores of shape {tuple(scores.shape)}; "
            "expected one class number a position. Regression and several labels a row can't be judged."
        )
    return scores, labels


def _figures(scores: "torch.Tensor", labels: "torch.Tensor", at_once: int = AT_ONCE) -> Floats:
    """Return loss (nan where no position counts), correct, margin and label of each row: (rows, 4).

    A few rows at a time: in single precision, the scores of a whole vocabulary are twice what the model itself holds.
    """
    rows = max(1, at_once // max(1, scores.shape[1] * scores.shape[2]))
    parts = zip(scores.split(rows), labels.split(rows), strict=True)
    return np.concatenate([_figures_at_once(*part) for part in parts])


def _figures_at_once(scores: "torch.Tensor", labels: "torch.Tensor") -> Floats:
    import torch

    counted = labels != IGNORED
    positions = counted.sum(dim=1)
    logs = torch.log_softmax(scores.float(), dim=-1)
    own = -logs.gather(-1, labels.masked_fill(~counted, 0)[..., None])[..., 0]
    loss = torch.where(counted, own, 0.0).sum(dim=1) / positions
    correct = ((logs.argmax(dim=-1) == labels) | ~counted).all(dim=1)
    first, second = logs.topk(2, dim=-1).values.exp().unbind(dim=-1)
    margin = torch.where(counted, first - second, 0.0).sum(dim=1) / positions
    label = labels[:, 0] if labels.shape[1] == 1 else torch.full_like(positions, -1)
    return np.stack([part.cpu().double().numpy() for part in (loss, correct, margin, label)], axis=1)
