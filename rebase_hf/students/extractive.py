"""The extractive student: an encoder that marks where in the text the answer starts and ends.

Long texts are read in overlapping windows. A window without the answer points at its first token, as in BERT's SQuAD
training; at prediction the best span of all windows wins, measured against that.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL
from rebase_hf.errors import StudentError, require
from rebase_hf.students.facts import training_facts
from rebase_hf.students.saving import SavedStudent, begin_saving, finish_saving
from rebase_hf.students.student import Input, TrainingRow, check_inputs, evaluation_scores
from rebase_hf.students.trainer_run import load_pretrained, repeat_rows, run_trainer
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading, training_run

BATCH_SIZE = 8
LEARNING_RATE = 5e-5
MAX_LENGTH = 384
MAX_ANSWER_TOKENS = 48
AUTO_CLASS = "AutoModelForQuestionAnswering"


class ExtractiveStudent:
    """An encoder with a question-answering head."""

    kind = "extractive"

    def __init__(self, task: Task, model: Any, tokenizer: Any, facts: Mapping[str, Any]) -> None:
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.facts: Mapping[str, Any] = dict(facts)

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """Return, for each input in order, the span of its text that answers best."""
        rows = check_inputs(self.task, inputs)
        return [self._best_span(*split_inputs(self.task, row)) for row in rows]

    def evaluate(self, rows: Iterable[Any] | None = None) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on the task's evaluation rows."""
        return evaluation_scores(self, rows)

    def save(self, folder: str | Path) -> Path:
        """Write the student to a folder that `load_student` and plain `AutoModelForQuestionAnswering` read."""
        path = begin_saving(folder)
        with quiet_loading():
            self.model.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
        return finish_saving(path, kind=self.kind, task=self.task, facts=self.facts)

    def _best_span(self, question: str, context: str) -> str:
        import torch

        windows = _windows(self.tokenizer, question, context)
        best_score, best = -np.inf, ""
        for start in range(0, len(windows["input_ids"]), BATCH_SIZE):
            part = {name: values[start : start + BATCH_SIZE] for name, values in windows.items()}
            offsets = part.pop("offset_mapping")
            batch = self.tokenizer.pad(part, return_tensors="pt").to(self.model.device)
            with torch.inference_mode():
                output = self.model(**batch)
            starts, ends = (logits.float().cpu().numpy() for logits in (output.start_logits, output.end_logits))
            for place, spans in enumerate(offsets):
                score, begin, end = _best_in_window(spans, starts[place], ends[place])
                if score > best_score:
                    best_score, best = score, context[begin:end]
        return best


def train_extractive_student(
    task: Task, rows: Sequence[TrainingRow], *, base_model: str | None, seed: int, rows_shown: int
) -> ExtractiveStudent:
    """Train an extractive student on exactly `rows_shown` windows of text.

    Raises:
        StudentError: In no row does the answer stand in the text.
    """
    require("torch", what="An extractive student", extra="trainer")
    with training_run(seed) as scratch:
        from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

        model, tokenizer = load_pretrained(AUTO_CLASS, base_model or DEFAULT_MODEL)
        features = [feature for row in rows for feature in _features(task, tokenizer, row.fields)]
        if not features:
            raise StudentError(
                f"Task `{task.name}`: in none of {len(rows)} rows does `{task.output}` stand in "
                f"`{context_field(task)}`, so there is no span to learn from."
            )
        run_trainer(
            Trainer,
            TrainingArguments,
            model,
            [features[place] for place in repeat_rows(len(features), rows_shown, seed)],
            collator=DataCollatorWithPadding(tokenizer),
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            seed=seed,
            scratch=scratch,
        )
    facts = training_facts(
        task,
        rows,
        base_model=base_model or DEFAULT_MODEL,
        seed=seed,
        settings={
            "method": "extractive question answering",
            "max_pairs": rows_shown,
            "batch_size": BATCH_SIZE,
            "learning_rate": LEARNING_RATE,
            "max_length": _max_length(tokenizer),
        },
    )
    return ExtractiveStudent(task, model, tokenizer, facts)


def load_extractive_student(saved: SavedStudent) -> ExtractiveStudent:
    """Load a saved extractive student."""
    model, tokenizer = load_pretrained(AUTO_CLASS, str(saved.folder), safe=True)
    return ExtractiveStudent(saved.task, model, tokenizer, saved.facts)


def context_field(task: Task) -> str:
    """Return the input that answers stand in: the one where most examples have theirs, of equals the longest."""

    def evidence(name: str) -> tuple[int, int]:
        holding = sum(example[task.output] in example[name] for example in task.examples)
        return holding, sum(len(example[name]) for example in task.examples)

    return max(task.inputs, key=evidence)


def split_inputs(task: Task, row: Mapping[str, str]) -> tuple[str, str]:
    """Return question and context: the other inputs (failing any, the instruction), and what answers stand in."""
    context = context_field(task)
    others = [row[name] for name in task.inputs if name != context]
    return "\n".join(others) or task.instruction, row[context]


def _max_length(tokenizer: Any) -> int:
    return min(MAX_LENGTH, int(tokenizer.model_max_length))


def _windows(tokenizer: Any, question: str, context: str) -> dict[str, Any]:
    """Return the overlapping windows of a text; in `offset_mapping` only the context's tokens have a place."""
    longest = _max_length(tokenizer)
    # A question may take at most a third of a window, so that every window has room for text.
    kept = tokenizer(question, truncation=True, max_length=longest // 3, return_offsets_mapping=True)["offset_mapping"]
    encoded = tokenizer(
        question[: max(end for _, end in kept)],
        context,
        truncation="only_second",
        max_length=longest,
        stride=longest // 3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    windows = {name: values for name, values in encoded.items() if name != "overflow_to_sample_mapping"}
    windows["offset_mapping"] = [
        [place if part == 1 else None for place, part in zip(offsets, encoded.sequence_ids(number), strict=True)]
        for number, offsets in enumerate(encoded["offset_mapping"])
    ]
    return windows


def _features(task: Task, tokenizer: Any, row: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a row's windows with the places of the answer's first and last token; (0, 0) where it is not in one."""
    question, context = split_inputs(task, row)
    begin = context.find(row[task.output])
    if begin < 0 or not row[task.output]:
        return []
    end = begin + len(row[task.output])
    windows = _windows(tokenizer, question, context)
    features = []
    for number, offsets in enumerate(windows["offset_mapping"]):
        inside = [t for t, place in enumerate(offsets) if place and place[0] < end and place[1] > begin]
        whole = inside and offsets[inside[0]][0] <= begin and offsets[inside[-1]][1] >= end
        feature = {name: values[number] for name, values in windows.items() if name != "offset_mapping"}
        feature["start_positions"], feature["end_positions"] = (inside[0], inside[-1]) if whole else (0, 0)
        features.append(feature)
    return features


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
