"""How a new example becomes a row like those that a Trainer is training on."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.rows import Example
from rebase_hf.students.row_figures import fetch_rows
from rebase_hf.task import Task

Encode = Callable[[dict[str, Any]], Mapping[str, Any]]
LABELS = ("labels", "label", "label_ids")


@dataclass(frozen=True, slots=True)
class NewFeatures:
    """Makes rows with the columns of the training rows, in the same form.

    Attributes:
        encode: From a row of the dataset to what the model is given of it.
        like: A training row.
        label_names: Names of the labels by their numbers, where the training rows have numbers; empty for names.
    """

    task: Task
    encode: Encode
    like: Mapping[str, Any]
    label_names: tuple[str, ...]

    def of(self, example: Example) -> dict[str, Any]:
        """Return an example as a training row."""
        record = example.to_record()
        if self.label_names:
            record[self.task.output] = self.label_names.index(record[self.task.output])
        made = record | dict(self.encode(dict(record)))
        return {name: _in_form(made[name], value) for name, value in self.like.items() if name in made}


def new_features(
    task: Task, encode: Encode | None, dataset: Any, *, model: Any, tokenizer: Any, all_columns: bool
) -> NewFeatures:
    """Return how examples become training rows, after trying it on a row whose features are known.

    Args:
        encode: As given to `dataset.map` (not batched) when the training rows were prepared; None for a
            classification of one text, by the Trainer's tokenizer.
        all_columns: The model's collator is given every column (`remove_unused_columns=False`).

    Raises:
        StudentError: New rows would lack a column that is needed, or their labels would be numbered otherwise.
    """
    first = fetch_rows(dataset, [0])[0]
    names = _label_names(task, dataset, first)
    encode = encode or _by_tokenizer(task, names, first, model, tokenizer)
    features = NewFeatures(task, encode, first, names)
    example = task.examples[0]
    tried = features.of(Example({name: example[name] for name in task.fields}, example.get("rationale"), {}))
    accepted = set(first) if all_columns else {*inspect.signature(model.forward).parameters, *LABELS}
    if lacking := [name for name in first if name in accepted and name not in tried]:
        raise StudentError(
            f"New rows would have no `{lacking[0]}`, which the training rows have; `encode` gives "
            f"{', '.join(f'`{name}`' for name in tried)}. Give encode= what you gave to `map`."
        )
    _same_label(features, first)
    return features


def _by_tokenizer(task: Task, names: tuple[str, ...], first: Mapping[str, Any], model: Any, tokenizer: Any) -> Encode:
    column = next((name for name in LABELS if name in first), None)
    if not task.labels or len(task.inputs) > 1 or not callable(tokenizer) or column is None:
        raise StudentError(
            f"How rows of task `{task.name}` become what the model is given is not known. Give encode= the function "
            "that you gave to `map`: from a row (a dict with the task's fields) to its features."
        )
    numbers = getattr(model.config, "label2id", {}) or {}
    known = numbers if set(task.labels) <= set(numbers) else {name: place for place, name in enumerate(names)}

    def encode(row: dict[str, Any]) -> Mapping[str, Any]:
        label = row[task.output]
        name = names[label] if isinstance(label, int) else label
        return {**tokenizer(row[task.inputs[0]], truncation=True), column: known[name]}

    return encode


def _label_names(task: Task, dataset: Any, first: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels in the order that numbers them in the training rows; none where these hold names."""
    if not task.labels or isinstance(first.get(task.output), str):
        return ()
    feature = (getattr(dataset, "features", None) or {}).get(task.output)
    names = tuple(getattr(feature, "names", None) or task.labels)
    if set(names) != set(task.labels):
        raise StudentError(
            f"The training rows' `{task.output}` has the labels {', '.join(names)}; task `{task.name}` has "
            f"{', '.join(task.labels)}. Train on rows of this task."
        )
    return names


def _same_label(features: NewFeatures, first: Mapping[str, Any]) -> None:
    """Encode a training row anew: its label must come out as it is."""
    column = next((name for name in LABELS if name in first), None)
    fields = {name: first[name] for name in features.task.fields if name in first}
    if column is None or len(fields) < len(features.task.fields):
        return
    encoded = {**first, **features.encode(dict(first))}[column]
    now, before = _plain(encoded), _plain(first[column])
    if now != before:
        raise StudentError(
            f"`encode` gives the label {now!r:.60} to a training row that has {before!r:.60}: new rows would be "
            "labelled otherwise. Give encode= what you gave to `map`."
        )


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _in_form(value: Any, like: Any) -> Any:
    """Return a value as a tensor where a training row's is one."""
    if type(like).__module__.split(".")[0] != "torch" or type(value) is type(like):
        return value
    import torch

    return torch.as_tensor(value)
