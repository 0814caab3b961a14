"""The extractive student: an encoder that marks where in the text the answer starts and ends.

Long texts are read in overlapping windows. A window without the answer points at its first token, as in BERT's SQuAD
training; at prediction the best span of all windows wins, measured against that. A row whose output is empty has its
answer in no window: from such rows a student learns to say nothing (SQuAD 2.0, arXiv 1806.03822).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL
from rebase_hf.students.answer_windows import shown_windows, split_inputs, text_windows
from rebase_hf.students.base_models import check_auto_model
from rebase_hf.students.batches import longest_first
from rebase_hf.students.facts import training_facts
from rebase_hf.students.kind import StudentKind, check_number
from rebase_hf.students.saving import SavedStudent, saving
from rebase_hf.students.student import Input, TrainingRow, check_inputs, evaluation_scores
from rebase_hf.students.trainer_run import load_pretrained, run_trainer
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading, training_run

MAX_ANSWER_TOKENS = 48
# Rows whose windows are sorted by length together.
ROWS_AT_ONCE = 256
AUTO_CLASS = "AutoModelForQuestionAnswering"


@dataclass(frozen=True, slots=True)
class ExtractiveOptions:
    """How an extractive student is trained, and when it answers with nothing.

    Attributes:
        batch_size: Windows of one step.
        learning_rate: At the first step; it falls to zero at the last.
        max_length: Tokens of a window, the question's among them; windows overlap by a third of it.
        no_answer_threshold: It answers with nothing when no span scores higher than "not here" by this (in logits,
            of start and end together). None: 0 when it was trained on rows without an answer, else it always answers.
    """

    batch_size: int = 8
    learning_rate: float = 5e-5
    max_length: int = 384
    no_answer_threshold: float | None = None

    def __post_init__(self) -> None:
        check_number("batch_size", self.batch_size, 1, whole=True)
        check_number("learning_rate", self.learning_rate, 1e-8, 1)
        check_number("max_length", self.max_length, 16, whole=True)
        if self.no_answer_threshold is not None:
            check_number("no_answer_threshold", self.no_answer_threshold, -float("inf"))


class ExtractiveStudent:
    """An encoder with a question-answering head."""

    kind = "extractive"

    def __init__(self, task: Task, model: Any, tokenizer: Any, facts: Mapping[str, Any]) -> None:
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.facts: Mapping[str, Any] = dict(facts)

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """Return, for each input in order, the span of its text that answers best, or nothing."""
        asked = [split_inputs(self.task, row) for row in check_inputs(self.task, inputs)]
        answers: list[str] = []
        for start in range(0, len(asked), ROWS_AT_ONCE):
            answers.extend(self._answer(asked[start : start + ROWS_AT_ONCE]))
        return answers

    def evaluate(self, rows: Iterable[Any] | None = None) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on the task's evaluation rows."""
        return evaluation_scores(self, rows)

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder that `load_student` and plain `AutoModelForQuestionAnswering` read."""
        with saving(folder, kind=self.kind, task=self.task, facts=self.facts) as path, quiet_loading():
            self.model.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
        return Path(folder)

    def _answer(self, asked: Sequence[tuple[str, str]]) -> list[str]:
        """Return the best span of each text, over all windows of all of them in batches of like length."""
        windows = [
            (row, window)
            for row, (question, context) in enumerate(asked)
            for window in text_windows(self.tokenizer, question, context, self.facts["max_length"])
        ]
        threshold = self.facts.get("no_answer_threshold")
        best = [-np.inf if threshold is None else float(threshold)] * len(asked)
        answers = [""] * len(asked)
        for batch in longest_first([len(window["input_ids"]) for _, window in windows], self.facts["batch_size"]):
            starts, ends = self._logits([windows[place][1] for place in batch])
            for place, start_scores, end_scores in zip(batch, starts, ends, strict=True):
                row, window = windows[place]
                score, begin, end = _best_in_window(window["offset_mapping"], start_scores, end_scores)
                if score > best[row]:
                    best[row], answers[row] = score, asked[row][1][begin:end]
        return answers

    def _logits(self, windows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Return each window's scores of starts and ends, float32 (windows, tokens of the longest)."""
        import torch

        given = [{name: value for name, value in one.items() if name != "offset_mapping"} for one in windows]
        padded = self.tokenizer.pad(given, padding_side="right", return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            output = self.model(**padded)
        return output.start_logits.float().cpu().numpy(), output.end_logits.float().cpu().numpy()


def train_extractive_student(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    options: ExtractiveOptions,
) -> ExtractiveStudent:
    """Train an extractive student on exactly `max_pairs` windows of text.

    Raises:
        StudentError: In no row does the answer stand in the text.
    """
    with training_run(seed) as scratch:
        from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

        model, tokenizer = load_pretrained(AUTO_CLASS, base_model or DEFAULT_MODEL)
        max_length = min(options.max_length, int(tokenizer.model_max_length))
        shown = shown_windows(task, tokenizer, rows, max_length=max_length, count=max_pairs, seed=seed)
        run_trainer(
            Trainer,
            TrainingArguments,
            model,
            shown,
            collator=DataCollatorWithPadding(tokenizer),
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            seed=seed,
            scratch=scratch,
        )
    unanswered = sum(not row.fields[task.output] for row in rows)
    threshold = options.no_answer_threshold
    facts = training_facts(
        task,
        rows,
        base_model=base_model or DEFAULT_MODEL,
        seed=seed,
        settings={
            "method": "extractive question answering",
            "max_pairs": max_pairs,
            **asdict(options),
            "max_length": max_length,
            "rows_without_answer": unanswered,
            "no_answer_threshold": 0.0 if threshold is None and unanswered else threshold,
        },
    )
    return ExtractiveStudent(task, model, tokenizer, facts)


def load_extractive_student(saved: SavedStudent) -> ExtractiveStudent:
    """Load a saved extractive student."""
    model, tokenizer = load_pretrained(AUTO_CLASS, str(saved.folder), safe=True)
    return ExtractiveStudent(saved.task, model, tokenizer, saved.facts)


def _best_in_window(
    offsets: Sequence[tuple[int, int] | None], starts: np.ndarray, ends: np.ndarray
) -> tuple[float, int, int]:
    """Return the best span's score, measured against "not here", and its place in the text."""
    length = len(offsets)
    scores = starts[:length, None] + ends[None, :length]
    in_context = np.array([place is not None for place in offsets])
    distance = np.arange(length)[None, :] - np.arange(length)[:, None]
    allowed = in_context[:, None] & in_context[None, :] & (distance >= 0) & (distance < MAX_ANSWER_TOKENS)
    if not allowed.any():
        return -np.inf, 0, 0
    first, last = np.unravel_index(np.where(allowed, scores, -np.inf).argmax(), scores.shape)
    begin, end = offsets[int(first)], offsets[int(last)]
    if begin is None or end is None:
        return -np.inf, 0, 0
    return float(scores[first, last] - starts[0] - ends[0]), begin[0], end[1]


KIND = StudentKind(
    name="extractive",
    does=("extractive",),
    needs={"accelerate": "trainer"},
    default_model=DEFAULT_MODEL,
    options=ExtractiveOptions,
    train=train_extractive_student,
    load=load_extractive_student,
    check=lambda base_model, options: check_auto_model(AUTO_CLASS, base_model),
)
