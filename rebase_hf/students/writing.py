"""Let a model write: greedy, in batches of like length, and where the task has labels one of these."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.students.batches import longest_first


def write_texts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Mapping[str, Any]],
    *,
    batch_size: int,
    new_tokens: int,
    choices: Mapping[tuple[int, ...], str] | None = None,
) -> list[str]:
    """Return what the model writes for each prompt, in order; the same each time.

    Args:
        prompts: Tokenised.
        new_tokens: It stops after so many.
        choices: Texts of which it is to choose one, by their tokens with the one that ends them.
    """
    import torch

    texts = [""] * len(prompts)
    for batch in longest_first([len(prompt["input_ids"]) for prompt in prompts], batch_size):
        # An encoder-decoder begins with a token of its own; any other model goes on from the prompt's end.
        side = "right" if model.config.is_encoder_decoder else "left"
        padded = tokenizer.pad([dict(prompts[row]) for row in batch], padding_side=side, return_tensors="pt")
        begin = 1 if model.config.is_encoder_decoder else padded["input_ids"].shape[1]
        limits = {} if choices is None else {"prefix_allowed_tokens_fn": _one_of(choices, begin)}
        with torch.inference_mode():
            written = model.generate(
                **padded.to(model.device),
                **limits,
                max_new_tokens=new_tokens if choices is None else max(map(len, choices)),
                **_GREEDY,
            )
        for row, tokens in zip(batch, written[:, begin:].tolist(), strict=True):
            texts[row] = (
                tokenizer.decode(tokens, skip_special_tokens=True) if choices is None else _chosen(choices, tokens)
            )
    return texts


# What a base model's own settings say of sampling would only be warned about.
_GREEDY = {"do_sample": False, "num_beams": 1, "use_cache": True, "temperature": None, "top_p": None, "top_k": None}


def forget_settings(model: Any) -> None:
    """Leave of a base model's settings for writing only which tokens begin, end and fill a text.

    A least length, penalties and forced tokens are for the texts that it was made for; a student's own may be shorter,
    or repeat what it read.
    """
    from transformers import GenerationConfig

    kept = {}
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
        said = getattr(model.generation_config, name, None)
        kept[name] = getattr(model.config, name, None) if said is None else said
    model.generation_config = GenerationConfig(**kept)


def _one_of(choices: Mapping[tuple[int, ...], str], begin: int) -> Callable[[int, Any], list[int]]:
    """Return what `generate` asks which tokens may follow; behind the end of a choice, its last token again."""
    follow: dict[tuple[int, ...], set[int]] = {}
    for choice in choices:
        for place, token in enumerate(choice):
            follow.setdefault(choice[:place], set()).add(token)
    after = {next(iter(choices))[-1]}
    return lambda _, written: sorted(follow.get(tuple(written[begin:].tolist()), after))


def _chosen(choices: Mapping[tuple[int, ...], str], tokens: Sequence[int]) -> str:
    for choice, text in choices.items():
        if tuple(tokens[: len(choice)]) == choice:
            return text
    raise StudentError(
        f"The model wrote none of the labels {', '.join(choices.values())}: its generation_config.json forces other "
        "tokens. Take `forced_bos_token_id` and the like out of it, or train the student again."
    )
