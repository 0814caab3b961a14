"""The causal student: a small language model that goes on from the task's prompt with the output.

Only what it is to write counts in the loss. By default low-rank matrices beside the weights are trained (LoRA, arXiv
2106.09685) and merged into them when training ends, so that what is saved is a model like any other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import StudentError, require
from rebase_hf.students.base_models import check_auto_model
from rebase_hf.students.causal_rows import CausalRows, label_choices, rooms
from rebase_hf.students.chat_text import end_tokens, prompt_tokens
from rebase_hf.students.facts import training_facts
from rebase_hf.students.kind import StudentKind, check_number
from rebase_hf.students.lora import is_adapted, with_lora
from rebase_hf.students.saving import ADAPTER, SavedStudent, saving
from rebase_hf.students.second_task import collating_both, with_second_task
from rebase_hf.students.student import Input, TrainingRow, check_inputs, evaluation_scores
from rebase_hf.students.texts import (
    RationaleOptions,
    answer_in,
    rationale_mode,
)
from rebase_hf.students.trainer_run import load_pretrained, repeat_rows, run_trainer
from rebase_hf.students.writing import forget_settings, write_texts
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading, training_run

DEFAULT_BASE_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
MAX_TARGET_TOKENS = 256
AUTO_CLASS = "AutoModelForCausalLM"
FULL_RATE, LORA_RATE = 5e-5, 5e-4


@dataclass(frozen=True, slots=True)
class CausalOptions(RationaleOptions):
    """How a causal student is trained.

    Attributes:
        batch_size: Rows of one step.
        learning_rate: At the first step; it falls to zero at the last. None: 5e-4 for LoRA, 5e-5 for all weights.
        max_length: Tokens of prompt and output together.
        lora_rank: Width of the low-rank matrices; 0 trains all weights.
        save_adapter: Keep the matrices apart and save them alone; the folder then needs the base model, from the Hub.
    """

    batch_size: int = 8
    learning_rate: float | None = None
    max_length: int = 1024
    lora_rank: int = 16
    save_adapter: bool = False

    def __post_init__(self) -> None:
        self.check_rationales()
        check_number("batch_size", self.batch_size, 1, whole=True)
        check_number("max_length", self.max_length, 2 * MAX_TARGET_TOKENS, whole=True)
        check_number("lora_rank", self.lora_rank, 0, 1024, whole=True)
        if self.learning_rate is not None:
            check_number("learning_rate", self.learning_rate, 1e-8, 1)
        if self.save_adapter and not self.lora_rank:
            raise StudentError("`save_adapter` needs `lora_rank` above 0: without LoRA there is no adapter to save.")

    @property
    def rate(self) -> float:
        """The learning rate at the first step."""
        return self.learning_rate or (LORA_RATE if self.lora_rank else FULL_RATE)


class CausalStudent:
    """A decoder-only language model that writes the output."""

    kind = "causal"

    def __init__(self, task: Task, model: Any, tokenizer: Any, facts: Mapping[str, Any]) -> None:
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.facts: Mapping[str, Any] = dict(facts)

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """Return the output for each input, in order: without its rationale, and of a task with labels a label.

        A student that reasons first can end with what is no label; that text is then returned as it is.
        """
        mode = self.facts["rationales"]
        if self.task.labels and mode != "target":
            return self._write(inputs, choices=self._labels())
        return [answer_in(self.task, text, mode) for text in self.generate(inputs)]

    def generate(self, inputs: Sequence[Input]) -> list[str]:
        """Return what the model writes for each input, its reasoning included. Greedy: the same each time."""
        return self._write(inputs)

    def evaluate(self, rows: Iterable[Any] | None = None) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on the task's evaluation rows."""
        return evaluation_scores(self, rows)

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder that `load_student` and plain `AutoModelForCausalLM` read."""
        with saving(folder, kind=self.kind, task=self.task, facts=self.facts) as path, quiet_loading():
            # An adapter is saved without looking up the base model on the Hub.
            self.model.save_pretrained(path, **({"save_embedding_layers": False} if is_adapted(self.model) else {}))
            self.tokenizer.save_pretrained(path)
            # peft's card is an empty form; `publish` writes one that says something.
            (path / "README.md").unlink(missing_ok=True)
        return Path(folder)

    def _write(self, inputs: Sequence[Input], choices: Mapping[tuple[int, ...], str] | None = None) -> list[str]:
        rows = check_inputs(self.task, inputs)
        prompt_room, room = rooms(int(self.facts["max_length"]))
        mode = self.facts["rationales"]
        prompts = [prompt_tokens(self.task, self.tokenizer, row, mode, "", prompt_room) for row in rows]
        return write_texts(
            self.model,
            self.tokenizer,
            [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in prompts],
            batch_size=int(self.facts["batch_size"]),
            new_tokens=room,
            choices=choices,
        )

    def _labels(self) -> dict[tuple[int, ...], str]:
        ends = end_tokens(self.model, self.tokenizer)
        return label_choices(self.task, self.tokenizer, self.facts["rationales"], ends)


def train_causal_student(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    options: CausalOptions,
) -> CausalStudent:
    """Train a causal student on exactly `max_pairs` rows, repeated as needed.

    Raises:
        StudentError: The base model can't be loaded, or two labels are the same to it.
    """
    name = base_model or DEFAULT_BASE_MODEL
    mode = rationale_mode(task, rows, options.rationales)
    with training_run(seed) as scratch:
        from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

        model, tokenizer = load_pretrained(AUTO_CLASS, name)
        forget_settings(model)
        _set_padding(model, tokenizer)
        label_choices(task, tokenizer, mode, end_tokens(model, tokenizer))
        order = repeat_rows(len(rows), max_pairs, seed)
        max_length = min(options.max_length, int(tokenizer.model_max_length))
        prepare = CausalRows(task, tokenizer, end_tokens(model, tokenizer), mode, max_length)
        features = {place: prepare.feature(rows[place]) for place in sorted(set(order))}
        prepare.targets.tell(len(features))
        if options.lora_rank:
            model = with_lora(model, options.lora_rank, name)
        collator = DataCollatorForSeq2Seq(tokenizer)
        run_trainer(
            with_second_task(Trainer, options.rationale_weight) if mode == "task" else Trainer,
            TrainingArguments,
            model,
            [features[place] for place in order],
            collator=collating_both(collator) if mode == "task" else collator,
            batch_size=options.batch_size,
            learning_rate=options.rate,
            seed=seed,
            scratch=scratch,
        )
        if options.lora_rank and not options.save_adapter:
            model = model.merge_and_unload()
    facts = training_facts(
        task,
        rows,
        base_model=name,
        seed=seed,
        settings={
            "method": "causal language model" + (", LoRA" if options.lora_rank else ""),
            "max_pairs": max_pairs,
            **asdict(options),
            "learning_rate": options.rate,
            "max_length": max_length,
            "rationales": mode,
        },
    )
    return CausalStudent(task, model, tokenizer, facts)


def load_causal_student(saved: SavedStudent) -> CausalStudent:
    """Load a saved causal student: a whole model, or an adapter and its base model from the Hub.

    Raises:
        StudentError: Its weights are missing, or lie there in a format that would have to be unpickled.
    """
    if (saved.folder / "adapter_config.json").is_file():
        require("peft", what="A causal student saved as an adapter", extra="lora")
        if not (saved.folder / ADAPTER).is_file():
            raise StudentError(
                f"{saved.folder} has no {ADAPTER}, so the student is damaged. Save or download it again."
            )
    model, tokenizer = load_pretrained(AUTO_CLASS, str(saved.folder), safe=True)
    return CausalStudent(saved.task, model, tokenizer, saved.facts)


def check_causal_base(base_model: str, options: CausalOptions) -> None:
    """Raise where a causal student can't be trained from a model.

    Raises:
        StudentError: It is no causal model, or one of this machine for which an adapter is to be saved.
    """
    if options.save_adapter and Path(base_model).is_dir():
        raise StudentError(
            f"Base model {base_model} is a folder of this machine; an adapter saved for it could be loaded nowhere "
            "else. Leave `save_adapter` out, or name a model on the Hub."
        )
    check_auto_model(AUTO_CLASS, base_model)


def _set_padding(model: Any, tokenizer: Any) -> None:
    """Give a model that has no token to fill with the one that ends a text; attention leaves it out."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    # The collator fills on this side; prompts are filled on the left, when it writes.
    tokenizer.padding_side = "right"
    model.generation_config.pad_token_id = tokenizer.pad_token_id


KIND = StudentKind(
    name="causal",
    does=("generation", "classification", "extractive"),
    needs={"accelerate": "trainer"},
    default_model=DEFAULT_BASE_MODEL,
    options=CausalOptions,
    train=train_causal_student,
    load=load_causal_student,
    check=check_causal_base,
    learns_rationales=CausalOptions.wants_rationales,
    options_need=lambda options: {"peft": "lora"} if options.lora_rank else {},
)
