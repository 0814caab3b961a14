"""Low-rank matrices beside a model's weights (LoRA, arXiv 2106.09685)."""

from typing import Any


def with_lora(model: Any, rank: int, name: str) -> Any:
    """Return the model with low-rank matrices beside each of its linear layers, which alone are trained."""
    from peft import LoraConfig, get_peft_model

    # An adapter names its base model as others find it, not where it lies in this machine's cache.
    model.name_or_path = name
    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear"
    )
    return get_peft_model(model, config)


def is_adapted(model: Any) -> bool:
    """Return whether a model has such matrices, not merged into its weights."""
    return hasattr(model, "peft_config")
