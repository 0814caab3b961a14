"""Run a transformers Trainer on a stated number of rows: what extractive and sequence-to-sequence students share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.embedding_model import find_embedding_model
from rebase_hf.errors import StudentError, require
from rebase_hf.training_run import hub_progress_callback, quiet_loading, show_only


def load_pretrained(
    auto_class: str, name: str, *, safe: bool = False, tokenizer: str | None = None
) -> tuple[Any, Any]:
    """Return a model and its tokenizer.

    Args:
        auto_class: Name of the transformers Auto class: `AutoModelForQuestionAnswering`, ...
        name: A folder, or an id on the Hub.
        safe: Read weights from safetensors only, as for a student that somebody else saved.
        tokenizer: Where the tokenizer is, if not beside the model.

    Raises:
        StudentError: There is no such model, or it is of another kind.
        MissingExtraError: transformers is not installed.
    """
    require("transformers", what="A student of this kind", extra="trainer")
    import transformers

    options = {"use_safetensors": True} if safe else {}
    found = find_embedding_model(name)
    try:
        with quiet_loading():
            model = getattr(transformers, auto_class).from_pretrained(found, trust_remote_code=False, **options)
            reader = transformers.AutoTokenizer.from_pretrained(tokenizer or found, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise StudentError(
            f"Model {name} can't be loaded by {auto_class}: {' '.join(str(error).split())} "
            "Give a folder or a Hub id of a model of that kind."
        ) from error
    return model, reader


def repeat_rows(rows: int, shown: int, seed: int) -> list[int]:
    """Return exactly `shown` row numbers: all rows in a shuffled order, again and again."""
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(rows) for _ in range(-(-shown // rows))]
    return [int(row) for row in np.concatenate(rounds)[:shown]]


def run_trainer(
    trainer_class: Any,
    arguments_class: Any,
    model: Any,
    features: Sequence[Mapping[str, Any]],
    *,
    collator: Any,
    batch_size: int,
    learning_rate: float,
    seed: int,
    scratch: str,
) -> None:
    """Train `model` in place on `features`, each once, with one bar and no files."""
    arguments = arguments_class(
        output_dir=str(Path(scratch) / "trainer"),
        per_device_train_batch_size=batch_size,
        num_train_epochs=1,
        learning_rate=learning_rate,
        warmup_steps=0,
        seed=seed,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        dataloader_pin_memory=False,
    )
    trainer = trainer_class(model=model, args=arguments, train_dataset=list(features), data_collator=collator)
    show_only(trainer, hub_progress_callback("training"))
    trainer.train()
    model.eval()
