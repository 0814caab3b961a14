"""Run a transformers Trainer on a stated number of rows: what all students but SetFit's and the linear one share."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.embedding_model import find_embedding_model
from rebase_hf.errors import StudentError, require
from rebase_hf.students.batches import by_length
from rebase_hf.training_run import hub_progress_callback, quiet_loading, show_only


def load_pretrained(
    auto_class: str, name: str, *, safe: bool = False, tokenizer: str | None = None, **config: Any
) -> tuple[Any, Any]:
    """Return a model and its tokenizer.

    Args:
        auto_class: Name of the transformers Auto class: `AutoModelForQuestionAnswering`, ...
        name: A folder, or an id on the Hub.
        safe: Read weights from safetensors only, as for a student that somebody else saved; it is then put where it
            runs fastest.
        tokenizer: Where the tokenizer is, if not beside the model.
        config: What the model's configuration is to say: `id2label`, ...

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
            model = getattr(transformers, auto_class).from_pretrained(
                found, trust_remote_code=False, **options, **config
            )
            reader = transformers.AutoTokenizer.from_pretrained(tokenizer or found, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise StudentError(
            f"Model {name} can't be loaded by {auto_class}: {' '.join(str(error).split())} "
            "Give a folder or a Hub id of a model of that kind."
        ) from error
    # Some weights lie in half precision, in which small steps of training would be rounded away.
    return (model.to(fastest_device()).eval() if safe else model.float()), reader


def fastest_device() -> str:
    """Return where a model runs fastest here."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


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
    """Train `model` in place on `features`, each as often as it stands there, with one bar and no files.

    Rows of like length share a batch. On a GPU that has it, bfloat16 is used for products.

    Args:
        features: Tokenised rows, at least `input_ids`; a row that is shown again is the same object again.
    """
    arguments = arguments_class(
        output_dir=str(Path(scratch) / "trainer"),
        per_device_train_batch_size=batch_size,
        num_train_epochs=1,
        learning_rate=learning_rate,
        warmup_steps=0,
        seed=seed,
        bf16=_has_bfloat16(),
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        dataloader_pin_memory=False,
        # Features hold what the model and the collator want, and nothing else.
        remove_unused_columns=False,
        **_in_the_order_given(arguments_class),
    )
    order = by_length(
        [len(feature["input_ids"]) for feature in features],
        distinct=len({id(feature) for feature in features}),
        batch_size=batch_size,
        seed=seed,
    )
    dataset = [features[place] for place in order]
    trainer = trainer_class(model=model, args=arguments, train_dataset=dataset, data_collator=collator)
    show_only(trainer, hub_progress_callback("training"))
    trainer.train()
    model.eval()


def _in_the_order_given(arguments_class: Any) -> dict[str, str]:
    """Return the argument that keeps rows in order; transformers 4 has none, and shuffles them again."""
    name = "train_sampling_strategy"
    return {name: "sequential"} if name in {field.name for field in fields(arguments_class)} else {}


def _has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
