"""Trainers of users, small: tokenised rows with provenance, and each kind of model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from tests.doubles.tiny_models import ROWS, TEXTS

LABELS = list(TEXTS)
SOURCES = ("bank/mails", "bank/chats", None)


def rows_with_provenance() -> list[dict[str, Any]]:
    """Return the twelve rows of the tiny models, each of one of two sources or of none."""
    return [{**row, "provenance": {"dataset": SOURCES[number % 3], "row": number}} for number, row in enumerate(ROWS)]


def classification_rows(bert: str) -> Dataset:
    """Return the rows tokenised, with their text and provenance still there."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bert)
    return Dataset.from_list(rows_with_provenance()).map(
        lambda row: {**tokenizer(row["message"]), "labels": LABELS.index(row["team"])}
    )


def classifier(bert: str, seed: int = 0) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    return AutoModelForSequenceClassification.from_pretrained(
        bert,
        num_labels=len(LABELS),
        label2id={name: i for i, name in enumerate(LABELS)},
        id2label=dict(enumerate(LABELS)),
    )


def make_trainer(
    bert: str,
    folder: Path,
    callbacks: Sequence[Any],
    *,
    rows: Any = None,
    eval_dataset: Any = None,
    model: Any = None,
    **settings: Any,
) -> Any:
    """Return a Trainer of a classifier on the rows, three epochs of three steps."""
    from transformers import AutoTokenizer, Trainer, TrainingArguments

    arguments = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 5,
        "learning_rate": 1e-3,
        "logging_strategy": "epoch",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "seed": 3,
    } | settings
    return Trainer(
        model or classifier(bert),
        TrainingArguments(output_dir=str(folder), **arguments),
        train_dataset=classification_rows(bert) if rows is None else rows,
        eval_dataset=eval_dataset,
        processing_class=AutoTokenizer.from_pretrained(bert),
        callbacks=list(callbacks),
    )
