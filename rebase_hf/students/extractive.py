"""The extractive student: an encoder that marks where in the text the answer starts and ends.

Long texts are read in overlapping windows. A window without the answer points at its first token, as in BERT's SQuAD
training; at prediction the best span of all windows wins, measured against that. A row whose output is empty has its
answer in no window: from such rows a student learns to say nothing (SQuAD 2.0, arXiv 1806.03822).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL
from rebase_hf.errors import StudentError
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
            for window in _windows(self.tokenizer, question, context, self.facts["max_length"])
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
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
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


def _windows(tokenizer: Any, question: str, context: str, longest: int) -> list[dict[str, Any]]:
    """Return the overlapping windows of a text; in `offset_mapping` only the context's tokens have a place."""
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
    encoded.pop("overflow_to_sample_mapping")
    windows = [
        {name: values[number] for name, values in encoded.items()} for number in range(len(encoded["input_ids"]))
    ]
    for number, window in enumerate(windows):
        parts = encoded.sequence_ids(number)
        window["offset_mapping"] = [
            place if part == 1 else None for place, part in zip(window["offset_mapping"], parts, strict=True)
        ]
    return windows


def shown_windows(
    task: Task, tokenizer: Any, rows: Sequence[TrainingRow], *, max_length: int, count: int, seed: int
) -> list[dict[str, Any]]:
    """Return exactly `count` windows: those of all rows in a shuffled order, again and again.

    Rows are drawn before they are prepared, each once; a row whose answer is somewhere else than in its text teaches
    nothing, and is not drawn.

    Raises:
        StudentError: In no row does the answer stand in the text.
    """
    field = context_field(task)
    useful = [row.fields for row in rows if row.fields[task.output] in row.fields[field]]
    if not any(row[task.output] for row in useful):
        raise StudentError(
            f"Task `{task.name}`: in none of {len(rows)} rows does `{task.output}` stand in `{field}`, so there is no "
            "span to learn from."
        )
    chance = np.random.default_rng(seed)
    prepared: dict[int, list[dict[str, Any]]] = {}
    shown: list[dict[str, Any]] = []
    while len(shown) < count:
        windows: list[dict[str, Any]] = []
        for place in chance.permutation(len(useful)).tolist():
            if len(shown) + len(windows) >= count:
                break
            if place not in prepared:
                prepared[place] = _features(task, tokenizer, useful[place], max_length)
            windows += prepared[place]
        # Of a long text all windows come at once; they are not to share a batch.
        shown += [windows[place] for place in chance.permutation(len(windows)).tolist()]
    return shown[:count]


def _features(task: Task, tokenizer: Any, row: Mapping[str, str], max_length: int) -> list[dict[str, Any]]:
    """Return a row's windows with the places of the answer's first and last token; (0, 0) where it is not in one."""
    question, context = split_inputs(task, row)
    answer = row[task.output]
    begin = context.find(answer)
    end = begin + len(answer)
    features = []
    for window in _windows(tokenizer, question, context, max_length):
        offsets = window.pop("offset_mapping")
        inside = [t for t, place in enumerate(offsets) if answer and place and place[0] < end and place[1] > begin]
        whole = inside and offsets[inside[0]][0] <= begin and offsets[inside[-1]][1] >= end
        window["start_positions"], window["end_positions"] = (inside[0], inside[-1]) if whole else (0, 0)
        features.append(window)
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
