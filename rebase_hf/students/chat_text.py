"""What a causal model reads and writes, in its own chat template where it has one.

What it reads at training and at inference is the same tokens: the template up to where the assistant begins. What it
learns to write is the rest, with the token that ends a turn.
"""

from collections.abc import Mapping
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.students.texts import source_text
from rebase_hf.task import Task

# For models without a template; nothing that a rationale or a label could begin with.
PLAIN_CUE = "\n\nReply:\n"


def prompt_tokens(task: Task, tokenizer: Any, row: Mapping[str, str], mode: str, prefix: str, room: int) -> list[int]:
    """Return what the model reads of a row, in at most `room` tokens.

    Where that is too few, the ends of the longest inputs are left out, never the instruction or the template.

    Args:
        mode: How rationales are learnt.
        prefix: Stands before all else: the second task's, or nothing.

    Raises:
        StudentError: Instruction and template alone have more tokens.
    """

    def read(fields: Mapping[str, str]) -> list[int]:
        return _tokens(tokenizer, prompt_text(tokenizer, prefix + source_text(task, fields, mode)))

    ids = read(row)
    if len(ids) <= room:
        return ids
    inputs = {name: list(tokenizer(row[name], add_special_tokens=False)["input_ids"]) for name in task.inputs}
    bare = len(read({**row, **dict.fromkeys(inputs, "")}))
    if bare > room:
        raise StudentError(
            f"Task `{task.name}`: what a student reads beside a row's inputs has {bare} tokens, and there is room for "
            f"{room}. Shorten the instruction, or take a larger `max_length` or a base model that reads more."
        )
    left = room - bare
    while len(ids) > room:
        kept = {name: tokenizer.decode(ids, skip_special_tokens=True) for name, ids in _cut(inputs, left).items()}
        ids = read({**row, **kept})
        left = max(0, left - max(1, len(ids) - room))  # what a cut adds at its end
    return ids


def _cut(inputs: Mapping[str, list[int]], left: int) -> dict[str, list[int]]:
    """Return the inputs with `left` tokens in all: of the longest so many fewer that these are equally long."""
    kept: dict[str, list[int]] = {}
    for place, name in enumerate(sorted(inputs, key=lambda name: len(inputs[name]))):
        kept[name] = inputs[name][: left // (len(inputs) - place)]
        left -= len(kept[name])
    return kept


def completion_tokens(tokenizer: Any, source: str, target: str, ends: frozenset[int]) -> list[int]:
    """Return what the model learns to write behind the prompt of `source`, with the token that ends it.

    Args:
        ends: The tokens that end a text; where the template writes none of them, the tokenizer's own is added.
    """
    text = target
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": source}, {"role": "assistant", "content": target}]
        whole, prompt = _rendered(tokenizer, turns, False), prompt_text(tokenizer, source)
        # Some templates write a reply otherwise behind a prompt than in a conversation; then it stands as it is.
        if whole.startswith(prompt) and target in whole[len(prompt) :]:
            text = whole[len(prompt) :].rstrip()
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if not ids or ids[-1] not in ends:
        ids.append(tokenizer.eos_token_id)
    return ids


def prompt_text(tokenizer: Any, source: str) -> str:
    """Return the text up to where the model begins to write."""
    if not tokenizer.chat_template:
        return source + PLAIN_CUE
    return _rendered(tokenizer, [{"role": "user", "content": source}], True)


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens at which the model stops writing."""
    said = model.generation_config.eos_token_id
    said = [said] if isinstance(said, int) else said or []
    return frozenset([tokenizer.eos_token_id, *said])


def _rendered(tokenizer: Any, turns: list[dict[str, str]], begin_reply: bool) -> str:
    # Templates of models that think aloud are told not to; others take no notice.
    return str(
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=begin_reply, enable_thinking=False)
    )


def _tokens(tokenizer: Any, prompt: str) -> list[int]:
    # A template writes its special tokens itself.
    return list(tokenizer(prompt, add_special_tokens=not tokenizer.chat_template)["input_ids"])
