"""The rows of a causal student: prompt and completion in one text, each with its share of the model's tokens."""

from typing import Any

from rebase_hf.students.chat_text import completion_tokens, prompt_tokens
from rebase_hf.students.second_task import KEY
from rebase_hf.students.student import TrainingRow
from rebase_hf.students.targets import Targets, choices_of
from rebase_hf.students.texts import RATIONALE_PREFIX, source_text, target_text
from rebase_hf.task import Task

MAX_TARGET_TOKENS = 256


def rooms(max_length: int) -> tuple[int, int]:
    """Return how many of a model's tokens are for what it reads, and how many for what it writes."""
    written = min(MAX_TARGET_TOKENS, max_length // 2)
    return max_length - written, written


def label_choices(task: Task, tokenizer: Any, mode: str, ends: frozenset[int]) -> dict[tuple[int, ...], str]:
    """Return a task's labels by the tokens that a student writes for them.

    Raises:
        StudentError: Two labels have the same.
    """
    source = source_text(task, task.examples[0], mode)
    return choices_of(list(task.labels), lambda label: completion_tokens(tokenizer, source, label, ends))


class CausalRows:
    """Makes rows into features: prompt and completion in one text, of which the prompt does not count."""

    def __init__(self, task: Task, tokenizer: Any, ends: frozenset[int], mode: str, max_length: int) -> None:
        self.task, self.tokenizer, self.ends, self.mode = task, tokenizer, ends, mode
        self.prompt_room, room = rooms(max_length)
        self.targets = Targets(room)

    def feature(self, row: TrainingRow) -> dict[str, Any]:
        """Return a row's feature, with the second task's where it has one."""
        feature = self._one(row, "", target_text(self.task, row, self.mode))
        if self.mode == "task" and row.rationale:
            feature[KEY] = self._one(row, RATIONALE_PREFIX, row.rationale)
        return feature

    def _one(self, row: TrainingRow, prefix: str, target: str) -> dict[str, Any]:
        mode = "none" if prefix else self.mode
        prompt = prompt_tokens(self.task, self.tokenizer, row.fields, mode, prefix, self.prompt_room)
        source = prefix + source_text(self.task, row.fields, mode)
        written = self.targets.of(target, lambda text: completion_tokens(self.tokenizer, source, text, self.ends))
        ids = [*prompt, *written]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100] * len(prompt) + written}
