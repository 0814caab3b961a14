"""The sequence-to-sequence student: from instruction and inputs to the output, its reasoning first if there is one.

For a task with rationales the target is the rationale and then `Answer: ...` (KARD, ReBase); what is returned and
scored is what follows the last `Answer:`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.errors import require
from rebase_hf.students.facts import training_facts
from rebase_hf.students.saving import SavedStudent, begin_saving, finish_saving
from rebase_hf.students.student import Input, TrainingRow, check_inputs, evaluation_scores
from rebase_hf.students.trainer_run import load_pretrained, repeat_rows, run_trainer
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading, training_run

DEFAULT_BASE_MODEL = "google/flan-t5-small"
BATCH_SIZE = 8
LEARNING_RATE = 3e-4
MAX_SOURCE_TOKENS = 512
MAX_TARGET_TOKENS = 256
MARKER = "Answer:"
AUTO_CLASS = "AutoModelForSeq2SeqLM"


class Seq2SeqStudent:
    """An encoder-decoder that writes the output."""

    kind = "seq2seq"

    def __init__(self, task: Task, model: Any, tokenizer: Any, facts: Mapping[str, Any]) -> None:
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.facts: Mapping[str, Any] = dict(facts)

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """Return the output for each input, in order: of a task that reasons the answer alone."""
        texts = self.generate(inputs)
        return [parse_answer(text) for text in texts] if self.task.reasons else [text.strip() for text in texts]

    def generate(self, inputs: Sequence[Input]) -> list[str]:
        """Return what the model writes for each input, its reasoning included. Greedy: the same each time."""
        import torch

        rows = check_inputs(self.task, inputs)
        texts: list[str] = []
        for start in range(0, len(rows), BATCH_SIZE):
            batch = self.tokenizer(
                [source_text(self.task, row) for row in rows[start : start + BATCH_SIZE]],
                truncation=True,
                max_length=MAX_SOURCE_TOKENS,
                padding=True,
                return_tensors="pt",
                return_token_type_ids=False,
            ).to(self.model.device)
            with torch.inference_mode():
                written = self.model.generate(**batch, max_new_tokens=MAX_TARGET_TOKENS, do_sample=False, num_beams=1)
            texts.extend(self.tokenizer.batch_decode(written, skip_special_tokens=True))
        return texts

    def evaluate(self, rows: Iterable[Any] | None = None) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on the task's evaluation rows."""
        return evaluation_scores(self, rows)

    def save(self, folder: str | Path) -> Path:
        """Write the student to a folder that `load_student` and plain `AutoModelForSeq2SeqLM` read."""
        path = begin_saving(folder)
        with quiet_loading():
            self.model.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
        return finish_saving(path, kind=self.kind, task=self.task, facts=self.facts)


def train_seq2seq_student(
    task: Task, rows: Sequence[TrainingRow], *, base_model: str | None, seed: int, rows_shown: int
) -> Seq2SeqStudent:
    """Train a sequence-to-sequence student on exactly `rows_shown` rows, repeated as needed."""
    texts = [(source_text(task, row.fields), target_text(task, row)) for row in rows]
    model, tokenizer = train_on_texts(texts, base_model=base_model, seed=seed, shown=rows_shown)
    facts = training_facts(
        task,
        rows,
        base_model=base_model or DEFAULT_BASE_MODEL,
        seed=seed,
        settings={
            "method": "sequence to sequence" + (", rationale before the answer" if task.reasons else ""),
            "max_pairs": rows_shown,
            "batch_size": BATCH_SIZE,
            "learning_rate": LEARNING_RATE,
            "max_length": MAX_SOURCE_TOKENS,
        },
    )
    return Seq2SeqStudent(task, model, tokenizer, facts)


def train_on_texts(
    texts: Sequence[tuple[str, str]], *, base_model: str | None, seed: int, shown: int
) -> tuple[Any, Any]:
    """Return a model trained to write the second text of each pair when it reads the first, and its tokenizer.

    Args:
        shown: How many pairs it is shown, all of them in a shuffled order, again and again.
    """
    require("torch", what="A sequence-to-sequence student", extra="trainer")
    with training_run(seed) as scratch:
        from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

        model, tokenizer = load_pretrained(AUTO_CLASS, base_model or DEFAULT_BASE_MODEL)
        features = [_feature(tokenizer, source, target) for source, target in texts]
        run_trainer(
            Seq2SeqTrainer,
            Seq2SeqTrainingArguments,
            model,
            [features[place] for place in repeat_rows(len(features), shown, seed)],
            collator=DataCollatorForSeq2Seq(tokenizer, model=model),
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            seed=seed,
            scratch=scratch,
        )
    return model, tokenizer


def load_seq2seq_student(saved: SavedStudent) -> Seq2SeqStudent:
    """Load a saved sequence-to-sequence student."""
    model, tokenizer = load_pretrained(AUTO_CLASS, str(saved.folder), safe=True)
    return Seq2SeqStudent(saved.task, model, tokenizer, saved.facts)


def source_text(task: Task, row: Mapping[str, str]) -> str:
    """Return what the model reads: the instruction, then each input by its name."""
    return "\n".join([task.instruction, "", *(f"{name}: {row[name]}" for name in task.inputs)])


def target_text(task: Task, row: TrainingRow) -> str:
    """Return what the model learns to write: the output, after its rationale and the marker in a task that reasons."""
    output = row.fields[task.output]
    if not task.reasons:
        return output
    return f"{row.rationale}\n{MARKER} {output}" if row.rationale else f"{MARKER} {output}"


def parse_answer(text: str) -> str:
    """Return what follows the last marker; all of a text that has none."""
    return text.rpartition(MARKER)[2].strip()


def _feature(tokenizer: Any, source: str, target: str) -> dict[str, Any]:
    read = tokenizer(source, truncation=True, max_length=MAX_SOURCE_TOKENS, return_token_type_ids=False)
    written = tokenizer(text_target=target, truncation=True, max_length=MAX_TARGET_TOKENS)
    return {**read, "labels": written["input_ids"]}
