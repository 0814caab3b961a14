"""A head that knows its labels before the encoder is touched: linear probing, then fine-tuning (arXiv 2202.10054).

A random head sends random gradients through the encoder until it has learnt something itself; of the few steps that
a student gets, it would take most. Fitting it to what the encoder already says costs one forward pass over the rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rebase_hf.students.batches import longest_first

# Inverse strength of the penalty, as scikit-learn's `C`, on vectors of unit length on average.
C = 3.0
BATCH_SIZE = 32
MOST_STEPS = 200


def fit_head(model: Any, features: Sequence[Mapping[str, Any]], collator: Any) -> None:
    """Set a classifier's last layer to the logistic regression of the labels on its inputs, labels weighing equally.

    A model whose classes come from no linear layer, or from one that reads every token by itself, is left as it is.

    Args:
        features: Tokenised rows with `labels`, each once.
        collator: Makes a batch of them.
    """
    import torch

    layer = _last_layer(model)
    if layer is None:
        return
    inputs, order = _inputs_of(layer, model, [_unlabelled(feature) for feature in features], collator)
    if inputs.ndim != 2 or len(inputs) != len(order):
        return
    labels = torch.tensor([int(features[row]["labels"]) for row in order])
    # By the whole length, also where rows differ in little of it: weights that made much of that little would be
    # thrown far off by the encoder's first steps.
    scale, middle = inputs.norm(dim=1).mean(), inputs.mean(dim=0)
    weight, bias = _regression((inputs - middle) / scale, labels, model.config.num_labels)
    with torch.no_grad():
        layer.weight.copy_(weight / scale)
        if layer.bias is not None:
            layer.bias.copy_(bias - weight @ middle / scale)


def head_inputs(model: Any, features: Sequence[Mapping[str, Any]], collator: Any) -> Any:
    """Return what reaches a classifier's last layer for each row, float64 (rows, width).

    Of one dimension, and empty, where its classes come from no linear layer, or from one that reads every token by
    itself.

    Args:
        features: Tokenised rows, without labels.
        collator: Makes a batch of them.
    """
    import torch

    layer = _last_layer(model)
    if layer is None:
        return torch.zeros(0)
    inputs, order = _inputs_of(layer, model, features, collator)
    return inputs[torch.argsort(torch.tensor(order))] if len(inputs) == len(order) else torch.zeros(0)


def _last_layer(model: Any) -> Any:
    import torch

    classes = model.config.num_labels
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == classes]
    return layers[-1] if layers else None


def _unlabelled(feature: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in feature.items() if name != "labels"}


def _inputs_of(layer: Any, model: Any, features: Sequence[Mapping[str, Any]], collator: Any) -> tuple[Any, list[int]]:
    """Return what reaches a layer, float64 (rows, width), and the numbers of the rows in the order it stands in."""
    import torch

    seen: list[Any] = []
    hook = layer.register_forward_hook(lambda _, given, __: seen.append(given[0].detach().cpu().double()))
    order: list[int] = []
    model.eval()
    try:
        with torch.no_grad():
            for rows in longest_first([len(feature["input_ids"]) for feature in features], BATCH_SIZE):
                model(**collator([features[row] for row in rows]).to(model.device))
                order += rows
    finally:
        hook.remove()
    # Of every token by itself, they are of another length in each batch.
    return torch.cat(seen) if seen and seen[0].ndim == 2 else torch.zeros(0), order


def _regression(inputs: Any, labels: Any, classes: int) -> tuple[Any, Any]:
    import torch

    rows = np.bincount(labels.numpy(), minlength=classes)
    weights = torch.as_tensor(1 / np.maximum(rows, 1))[labels]
    weights = weights / weights.sum()
    weight = torch.zeros(classes, inputs.shape[1], dtype=torch.double, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.double, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=MOST_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Any:
        solver.zero_grad()
        errors = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, labels, reduction="none")
        total = (errors * weights).sum() + (weight**2).sum() / (2 * C * len(labels))
        total.backward()
        return total

    solver.step(loss)
    return weight.detach(), bias.detach()
