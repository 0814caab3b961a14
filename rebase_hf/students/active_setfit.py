"""Active synthesis in SetFit: rounds of its Trainer's `train()`, with more rows each time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rebase_hf.errors import StudentError
from rebase_hf.rows import Example
from rebase_hf.students.active_callback import ActiveSynthesisCallback
from rebase_hf.students.processes import only_first_process
from rebase_hf.students.row_columns import column_names, input_rows, source_addresses, spread_rows
from rebase_hf.students.row_figures import RowFigures, fetch_rows
from rebase_hf.students.setfit_figures import figures_of, text_and_label
from rebase_hf.task import Task


def train_in_rounds(trainer: Any, callback: ActiveSynthesisCallback) -> list[dict[str, Any]]:
    """Train a SetFit model, ask for rows, train on with them, until no more are asked for; return the rounds.

    Each round is a whole `trainer.train()`, as the Trainer's arguments have it, which goes on from the body that the
    last one left and fits the head anew. The trainer's `train_dataset` has all rows in the end. What was asked for in
    a training that was stopped is answered by the journal. What is known after each round is logged through the
    Trainer and written to `active_synthesis.json` in its `output_dir`.

    Args:
        trainer: A `setfit.Trainer` with a train_dataset, whose columns are `text`, `label` and others.
        callback: What is asked for, of whom; its `development` has the same columns. Of a training in rounds there is
            no `metric` but the accuracy, and nothing to `encode`.

    Raises:
        StudentError: Task or rows are not SetFit's: one text and one label; or the callback was told what has no
            meaning here.
        TeacherError: The teacher refuses or does not answer.
    """
    active = callback.active
    for name, given in (("metric", callback.metric), ("encode", callback.encode)):
        if given is not None:
            raise StudentError(f"`{name}` is given, and a SetFit training in rounds has no use for it. Leave it out.")
    if not active.task.labels:
        raise StudentError(f"Task `{active.task.name}` has no labels; SetFit is for classification.")
    development = callback.development
    asked_about = _said(active.task, trainer.train_dataset if development is None else development)
    sources = source_addresses(trainer.train_dataset)
    sources += source_addresses(development) if development is not None else []
    active.begin()
    only_first_process(lambda: active.check(asked_about))
    while _one_round(trainer, callback, sources):
        pass
    return active.rounds


def model_says(model: Any, texts: Sequence[str], labels: Sequence[Any], batch_size: int = 32) -> RowFigures:
    """Return what a trained SetFitModel says of texts with their labels; one that it never saw has probability 0."""
    said = np.asarray(model.predict_proba(list(texts), batch_size=batch_size, as_numpy=True, show_progress_bar=False))
    classes = list(getattr(model.model_head, "classes_", range(said.shape[1])))
    known = {label: place for place, label in enumerate(classes)}
    said = np.column_stack([said, np.zeros(len(said))])
    return figures_of(said, np.array([known.get(label, len(classes)) for label in labels]))


def _one_round(trainer: Any, callback: ActiveSynthesisCallback, sources: Sequence[str]) -> bool:
    """Train, and ask for more rows; return whether there is to be another round."""
    trainer.train()
    active = callback.active
    training = _said(active.task, trainer.train_dataset)
    dataset = trainer.train_dataset if callback.development is None else callback.development
    said = training if callback.development is None else _said(active.task, dataset)
    chosen = spread_rows([""] * len(said), min(callback.max_rows, len(said)))
    texts, labels = text_and_label(fetch_rows(dataset, chosen), None)
    figures = model_says(trainer.model, texts, labels, callback.batch_size or trainer.args.embedding_batch_size)
    going_on = active.go_on(float(figures.correct.mean()))
    if going_on:
        asked_about = [said[row] for row in chosen]
        taken = only_first_process(lambda: active.ask(figures, asked_about, training, sources))
        active.accept(taken)
        if taken.examples:
            trainer.train_dataset = _with_rows(active.task, trainer, taken.examples)
    callback.write(trainer.args, trainer.st_trainer.state)
    trainer.st_trainer.log(callback.told())
    return going_on


def _said(task: Task, dataset: Any) -> list[dict[str, str]]:
    """Return what rows say: the task's inputs, where they stand beside SetFit's columns; else `text`, its only input.

    Raises:
        StudentError: The task has several inputs, and the rows one text alone.
    """
    names = column_names(dataset)
    if set(task.inputs) <= set(names):
        return input_rows(task, dataset)
    if len(task.inputs) > 1:
        raise StudentError(
            f"Task `{task.name}` has the inputs {', '.join(task.inputs)}; the rows have {', '.join(names)}. Keep the "
            "task's inputs beside `text`, so that new rows can be told from those."
        )
    texts, _ = text_and_label(fetch_rows(dataset, range(len(dataset))), None)
    return [{task.inputs[0]: text} for text in texts]


def _with_rows(task: Task, trainer: Any, examples: Sequence[Example]) -> Any:
    """Return the trainer's rows with more of them, labelled as they are: by number, or by name."""
    from datasets import Dataset, concatenate_datasets

    dataset = trainer.train_dataset
    feature = dataset.features["label"]
    names = list(getattr(feature, "names", None) or trainer.model.labels or task.labels)
    numbered = not isinstance(dataset[0]["label"], str)
    rows = []
    for example in examples:
        record = example.to_record()
        label = record[task.output]
        row = {name: _cut(record.get(name), dataset.features[name]) for name in dataset.column_names}
        rows.append(row | {"text": task.input_text(record), "label": names.index(label) if numbered else label})
    return concatenate_datasets([dataset, Dataset.from_list(rows, features=dataset.features)])


def _cut(value: Any, feature: Any) -> Any:
    """Return a struct with the fields that a column has."""
    return {name: value.get(name) for name in feature} if isinstance(feature, dict) and value else value
