"""The sequence-to-sequence student: from instruction and inputs to the output, its reasoning first if there is one.

For a task with rationales the target is the rationale and then `Answer: ...` (KARD, ReBase), or the rationale is a
task of its own (distilling step by step); see `texts.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import require
from rebase_hf.students.base_models import check_auto_model
from rebase_hf.students.facts import training_facts
from rebase_hf.students.kind import StudentKind, check_number
from rebase_hf.students.saving import SavedStudent, saving
from rebase_hf.students.second_task import KEY, collating_both, with_second_task
from rebase_hf.students.student import Input, TrainingRow, check_inputs, evaluation_scores
from rebase_hf.students.targets import Targets, Tokens, choices_of
from rebase_hf.students.texts import RationaleOptions, answer_in, rationale_mode, second_task, source_text, target_text
from rebase_hf.students.trainer_run import load_pretrained, repeat_rows, run_trainer
from rebase_hf.students.writing import forget_settings, write_texts
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading, training_run

DEFAULT_BASE_MODEL = "google/flan-t5-small"
MAX_TARGET_TOKENS = 256
AUTO_CLASS = "AutoModelForSeq2SeqLM"
Texts = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Seq2SeqOptions(RationaleOptions):
    """How a sequence-to-sequence student is trained.

    Attributes:
        batch_size: Rows of one step.
        learning_rate: At the first step; it falls to zero at the last.
        max_length: What it reads is cut after so many tokens.
    """

    batch_size: int = 8
    learning_rate: float = 3e-4
    max_length: int = 512

    def __post_init__(self) -> None:
        self.check_rationales()
        check_number("batch_size", self.batch_size, 1, whole=True)
        check_number("learning_rate", self.learning_rate, 1e-8, 1)
        check_number("max_length", self.max_length, 4, whole=True)


class Seq2SeqStudent:
    """An encoder-decoder that writes the output."""

    kind = "seq2seq"

    def __init__(self, task: Task, model: Any, tokenizer: Any, facts: Mapping[str, Any]) -> None:
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.facts: Mapping[str, Any] = dict(facts)

    @property
    def rationales(self) -> str:
        """How it learnt rationales."""
        return str(self.facts.get("rationales") or ("target" if self.task.reasons else "none"))

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """Return the output for each input, in order: without its rationale, and of a task with labels a label.

        A student that reasons first can end with what is no label; that text is then returned as it is.
        """
        if self.task.labels and self.rationales != "target":
            return self._write(inputs, choices=self._labels())
        return [answer_in(self.task, text, self.rationales) for text in self.generate(inputs)]

    def generate(self, inputs: Sequence[Input]) -> list[str]:
        """Return what the model writes for each input, its reasoning included. Greedy: the same each time."""
        return self._write(inputs)

    def evaluate(self, rows: Iterable[Any] | None = None) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on the task's evaluation rows."""
        return evaluation_scores(self, rows)

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder that `load_student` and plain `AutoModelForSeq2SeqLM` read."""
        with saving(folder, kind=self.kind, task=self.task, facts=self.facts) as path, quiet_loading():
            self.model.save_pretrained(path)
            self.tokenizer.save_pretrained(path)
        return Path(folder)

    def _write(self, inputs: Sequence[Input], choices: Mapping[tuple[int, ...], str] | None = None) -> list[str]:
        longest = int(self.facts["max_length"])
        sources = [source_text(self.task, row, self.rationales) for row in check_inputs(self.task, inputs)]
        return write_texts(
            self.model,
            self.tokenizer,
            [_read(self.tokenizer, source, longest) for source in sources],
            batch_size=int(self.facts["batch_size"]),
            new_tokens=MAX_TARGET_TOKENS,
            choices=choices,
        )

    def _labels(self) -> dict[tuple[int, ...], str]:
        return choices_of(list(self.task.labels), _written(self.tokenizer))


def train_seq2seq_student(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    options: Seq2SeqOptions,
) -> Seq2SeqStudent:
    """Train a sequence-to-sequence student on exactly `max_pairs` rows, repeated as needed."""
    mode = rationale_mode(task, rows, options.rationales)
    texts = [(source_text(task, row.fields, mode), target_text(task, row, mode)) for row in rows]
    seconds = [second_task(task, row) for row in rows] if mode == "task" else None
    model, tokenizer = train_on_texts(
        texts,
        base_model=base_model,
        seed=seed,
        shown=max_pairs,
        seconds=seconds,
        labels=list(task.labels),
        options=options,
    )
    facts = training_facts(
        task,
        rows,
        base_model=base_model or DEFAULT_BASE_MODEL,
        seed=seed,
        settings={
            "method": "sequence to sequence",
            "max_pairs": max_pairs,
            **asdict(options),
            "rationales": mode,
        },
    )
    return Seq2SeqStudent(task, model, tokenizer, facts)


def train_on_texts(
    texts: Sequence[Texts],
    *,
    base_model: str | None,
    seed: int,
    shown: int,
    seconds: Sequence[Texts | None] | None = None,
    labels: Sequence[str] = (),
    options: Seq2SeqOptions | None = None,
) -> tuple[Any, Any]:
    """Return a model trained to write the second text of each pair when it reads the first, and its tokenizer.

    Args:
        shown: How many pairs it is shown, all of them in a shuffled order, again and again.
        seconds: For each pair, another one to learn in the same step, counting `options.rationale_weight`.
        labels: What it is to tell apart in what it writes.

    Raises:
        StudentError: The base model can't be loaded, or two labels are the same to it.
    """
    require("accelerate", what="A sequence-to-sequence student", extra="trainer")
    options = options or Seq2SeqOptions()
    with training_run(seed) as scratch:
        from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

        model, tokenizer = load_pretrained(AUTO_CLASS, base_model or DEFAULT_BASE_MODEL)
        choices_of(labels, _written(tokenizer))
        forget_settings(model)
        order = repeat_rows(len(texts), shown, seed)
        # Each pair is prepared once, however often it is shown, and not at all where it never is.
        targets = Targets(MAX_TARGET_TOKENS)
        features = {}
        for place in sorted(set(order)):
            features[place] = _feature(tokenizer, texts[place], options.max_length, targets)
            if seconds and (second := seconds[place]) is not None:
                features[place][KEY] = _feature(tokenizer, second, options.max_length, targets)
        targets.tell(len(features))
        collator = DataCollatorForSeq2Seq(tokenizer, model=model)
        run_trainer(
            with_second_task(Seq2SeqTrainer, options.rationale_weight) if seconds else Seq2SeqTrainer,
            Seq2SeqTrainingArguments,
            model,
            [features[place] for place in order],
            collator=collating_both(collator) if seconds else collator,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            seed=seed,
            scratch=scratch,
        )
    return model, tokenizer


def load_seq2seq_student(saved: SavedStudent) -> Seq2SeqStudent:
    """Load a saved sequence-to-sequence student."""
    model, tokenizer = load_pretrained(AUTO_CLASS, str(saved.folder), safe=True)
    return Seq2SeqStudent(saved.task, model, tokenizer, saved.facts)


def _read(tokenizer: Any, source: str, max_length: int) -> dict[str, Any]:
    return dict(tokenizer(source, truncation=True, max_length=max_length, return_token_type_ids=False))


def _written(tokenizer: Any) -> Tokens:
    """Return what makes a text the tokens that a student writes for it, with the one that ends it."""
    return lambda text: list(tokenizer(text_target=text, verbose=False)["input_ids"])


def _feature(tokenizer: Any, pair: Texts, max_length: int, targets: Targets) -> dict[str, Any]:
    source, target = pair
    return {**_read(tokenizer, source, max_length), "labels": targets.of(target, _written(tokenizer))}


KIND = StudentKind(
    name="seq2seq",
    does=("generation", "classification", "extractive"),
    needs={"accelerate": "trainer"},
    default_model=DEFAULT_BASE_MODEL,
    options=Seq2SeqOptions,
    train=train_seq2seq_student,
    load=load_seq2seq_student,
    check=lambda base_model, options: check_auto_model(AUTO_CLASS, base_model),
    learns_rationales=Seq2SeqOptions.wants_rationales,
)
