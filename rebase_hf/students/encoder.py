"""The encoder student: a text classifier fine-tuned whole, on one text or on two.

A task with several inputs (a premise and a hypothesis, a question and a passage) is read as two segments, so that
every layer compares them; SetFit and the linear student read one text of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL
from rebase_hf.errors import StudentError
from rebase_hf.setfit_training import add_missing_labels
from rebase_hf.students.base_models import check_classifier
from rebase_hf.students.batches import labels_in_turn, longest_first
from rebase_hf.students.classifier import Classifier
from rebase_hf.students.facts import training_facts
from rebase_hf.students.head_start import fit_head, head_inputs
from rebase_hf.students.kind import StudentKind, check_number
from rebase_hf.students.saving import SavedStudent, saving
from rebase_hf.students.student import Input, TrainingRow, check_inputs
from rebase_hf.students.trainer_run import load_pretrained, run_trainer
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading, training_run

AUTO_CLASS = "AutoModelForSequenceClassification"


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How an encoder student is trained.

    Attributes:
        batch_size: Rows of one step.
        learning_rate: At the first step; it falls to zero at the last.
        max_length: Rows are cut after so many tokens, of two segments the longer first.
    """

    batch_size: int = 16
    learning_rate: float = 2e-4
    max_length: int = 256

    def __post_init__(self) -> None:
        check_number("batch_size", self.batch_size, 1, whole=True)
        check_number("learning_rate", self.learning_rate, 1e-8, 1)
        check_number("max_length", self.max_length, 4, whole=True)


class EncoderStudent(Classifier):
    """An encoder with a classification head over the task's labels."""

    kind = "encoder"

    def __init__(self, task: Task, model: Any, tokenizer: Any, facts: Mapping[str, Any]) -> None:
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.facts: Mapping[str, Any] = dict(facts)

    def predict_proba(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return the probability of each label for each input, shape (inputs, labels), in the task's label order."""
        import torch

        rows = check_inputs(self.task, inputs)
        features = _features(self.tokenizer, [segments(self.task, row) for row in rows], self.facts["max_length"])
        probabilities = np.zeros((len(rows), len(self.task.labels)))
        places = [self.model.config.label2id[label] for label in self.task.labels]
        for batch in longest_first([len(one["input_ids"]) for one in features], self.facts["batch_size"]):
            padded = self.tokenizer.pad([features[row] for row in batch], return_tensors="pt").to(self.model.device)
            with torch.inference_mode():
                logits = self.model(**padded).logits
            # In double precision on the CPU: Apple's GPUs have none.
            probabilities[batch] = logits.cpu().double().softmax(-1).numpy()[:, places]
        return probabilities

    def vectors(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return what the last layer reads of each input, shape (inputs, width); of another shape where of no row."""
        rows = check_inputs(self.task, inputs)
        features = _features(self.tokenizer, [segments(self.task, row) for row in rows], self.facts["max_length"])
        return np.asarray(
            head_inputs(self.model, features, lambda some: self.tokenizer.pad(some, return_tensors="pt"))
        )

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder that `load_student` and `pipeline("text-classification", folder)` read."""
        with saving(folder, kind=self.kind, task=self.task, facts=self.facts) as path, quiet_loading():
            self.model.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
        return Path(folder)


def train_encoder_student(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    options: EncoderOptions,
) -> EncoderStudent:
    """Train an encoder student on exactly `max_pairs` rows, labels in turn; a label without one on its phrase.

    Raises:
        StudentError: The base model can't be loaded.
    """
    names = list(task.labels)
    texts, labels = _texts(task, rows)
    shown = labels_in_turn([names.index(label) for label in labels], max_pairs, seed)
    distinct = sorted(set(shown))
    with training_run(seed) as scratch:
        from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

        model, tokenizer = load_pretrained(AUTO_CLASS, base_model or DEFAULT_MODEL, **label_config(names))
        # In the saved tokenizer too: where another library cuts a text, it cuts it as here.
        max_length = tokenizer.model_max_length = min(options.max_length, int(tokenizer.model_max_length))
        # Each row is prepared once, however often it is shown, and not at all where it never is.
        prepared = dict(zip(distinct, _features(tokenizer, [texts[row] for row in distinct], max_length), strict=True))
        for row, feature in prepared.items():
            feature["labels"] = names.index(labels[row])
        collator = DataCollatorWithPadding(tokenizer)
        fit_head(model, list(prepared.values()), collator)
        # A student sees too few rows to learn words by; half of a small model's weights are these, and each step of an
        # optimiser would go over all of them.
        model.get_input_embeddings().requires_grad_(False)
        run_trainer(
            Trainer,
            TrainingArguments,
            model,
            [prepared[row] for row in shown],
            collator=collator,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            seed=seed,
            scratch=scratch,
        )
    facts = training_facts(
        task,
        rows,
        base_model=base_model or DEFAULT_MODEL,
        seed=seed,
        settings={
            "method": "encoder classification, linear probing then fine-tuning",
            "max_pairs": max_pairs,
            **asdict(options),
            "max_length": max_length,
        },
    )
    return EncoderStudent(task, model, tokenizer, facts)


def load_encoder_student(saved: SavedStudent) -> EncoderStudent:
    """Load a saved encoder student."""
    model, tokenizer = load_pretrained(AUTO_CLASS, str(saved.folder), safe=True)
    if unknown := set(model.config.label2id) ^ set(saved.task.labels):
        raise StudentError(
            f"{saved.folder}: the model's labels and the task's differ in `{min(unknown)}`. "
            "Save or download the student again."
        )
    return EncoderStudent(saved.task, model, tokenizer, saved.facts)


def segments(task: Task, row: Mapping[str, str]) -> tuple[str, str | None]:
    """Return what an encoder reads of a row: its first input, and the others as the second segment."""
    first, *others = (row[name] for name in task.inputs)
    return first, "\n".join(others) if others else None


def label_config(names: Sequence[str]) -> dict[str, Any]:
    """Return what a model's configuration says of its labels, so that every library gives them by name."""
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: place for place, name in enumerate(names)},
        "problem_type": "single_label_classification",
    }


def _texts(task: Task, rows: Sequence[TrainingRow]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return segments and labels, and of each label without a row its phrase."""
    labels = [row.fields[task.output] for row in rows]
    phrases, completed = add_missing_labels([], labels, task.labels)
    texts = [segments(task, row.fields) for row in rows]
    return [*texts, *((phrase, None) for phrase in phrases)], completed


def _features(tokenizer: Any, texts: Sequence[tuple[str, str | None]], max_length: int) -> list[dict[str, Any]]:
    """Return tokenised rows; a phrase stands alone also where rows have two segments."""
    features: list[dict[str, Any]] = [{} for _ in texts]
    for paired in (False, True):
        places = [place for place, (_, second) in enumerate(texts) if (second is not None) is paired]
        if places:
            firsts, seconds = ([texts[place][part] for place in places] for part in (0, 1))
            encoded = tokenizer(firsts, seconds if paired else None, truncation=True, max_length=max_length)
            for number, place in enumerate(places):
                features[place] = {name: values[number] for name, values in encoded.items()}
    return features


KIND = StudentKind(
    name="encoder",
    does=("classification",),
    needs={"accelerate": "trainer"},
    default_model=DEFAULT_MODEL,
    options=EncoderOptions,
    train=train_encoder_student,
    load=load_encoder_student,
    check=lambda base_model, options: check_classifier(AUTO_CLASS, base_model),
)
