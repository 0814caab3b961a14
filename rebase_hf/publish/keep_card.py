"""Keep a student's card while its user trains it on and pushes it with Trainer or SetFit.

`Trainer.push_to_hub` fires `on_push_begin`, then always calls `create_model_card`, which writes over README.md
(transformers 5.23); SetFit's model does the same in `save_pretrained` (setfit 1.2). So what is changed is that method
of the one trainer or model: it writes its card as before, and then ours, with theirs in it.
"""

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from rebase_hf.errors import PublishError, require
from rebase_hf.publish.continued_card import continue_card, is_ours
from rebase_hf.publish.finished_run import is_hub_id
from rebase_hf.students.linear_head import LinearHead, write_head
from rebase_hf.students.trainer_access import calling_trainer

require("transformers", what="A Trainer callback", extra="trainer")

from transformers import TrainerCallback  # noqa: E402 - only once it is known to be there

logger = logging.getLogger(__name__)

_KEPT = "_rebase_hf_card"


class KeepCardCallback(TrainerCallback):  # type: ignore[misc]
    """Keeps the card of a student that is trained on: for Trainer and for SetFit's Trainer.

    Args:
        source: Where the card is: a student's folder or Hub id. None looks at what the model was loaded from, at the
            output folder, and at `hub_model_id`.

    Example:
        >>> model = AutoModelForSequenceClassification.from_pretrained("org/student")            # doctest: +SKIP
        >>> trainer = Trainer(model, args, callbacks=[KeepCardCallback()])                        # doctest: +SKIP
        >>> trainer.train()                                                                       # doctest: +SKIP
        >>> trainer.push_to_hub()                                                                 # doctest: +SKIP
    """

    def __init__(self, source: str | Path | None = None) -> None:
        self.source = source

    def on_init_end(self, args: Any, state: Any, control: Any, **event: Any) -> None:
        """Find the card, and see to it that it is kept."""
        model = event.get("model")
        pushes = model if hasattr(model, "generate_model_card") else calling_trainer()
        if pushes is None or hasattr(pushes, _KEPT):
            return
        repo_id = getattr(args, "hub_model_id", None)
        named = [self.source] if self.source is not None else [*_loaded_from(model), args.output_dir, repo_id]
        card = next((found for name in named if name and (found := find_card(name)) is not None), None)
        if card is None:
            told = ", ".join(str(name) for name in named if name)
            logger.warning("No card of a student was found in %s; the trainer writes its own.", told)
            return
        keep_card(pushes, card, repo_id=repo_id)

    on_train_begin = on_push_begin = on_init_end  # of a callback that was added later


def keep_card(pushes: Any, card: str, *, repo_id: str | None = None) -> None:
    """Have a Trainer, or a SetFit model, keep a student's card whenever it writes its own.

    A SetFit model writes its classifier as safetensors too, for `load_student`.

    Args:
        card: The text of a card of ours.
        repo_id: Where it will be pushed.

    Raises:
        PublishError: The card is none of ours.
    """
    if not is_ours(card):
        raise PublishError("The card to keep is none that rebase_hf wrote for a student; give that one's README.md.")
    writes: Callable[..., None] = pushes.create_model_card
    of_setfit = hasattr(pushes, "generate_model_card")

    @wraps(writes)
    def create_model_card(*args: Any, **kwargs: Any) -> None:
        writes(*args, **kwargs)
        folder = Path(kwargs.get("path", args[0] if args else ".") if of_setfit else pushes.args.output_dir)
        file = folder / "README.md"
        if file.is_file():  # written by one process of several
            text = continue_card(card, file.read_text(encoding="utf-8"), repo_id=repo_id)
            file.write_text(text, encoding="utf-8")
        if of_setfit and hasattr(pushes.model_head, "coef_"):
            write_head(folder, _head(pushes))

    pushes.create_model_card = create_model_card
    setattr(pushes, _KEPT, True)


def find_card(source: str | Path) -> str | None:
    """Return the card of a student in a folder or on the Hub; None where there is none of ours."""
    file = Path(source) / "README.md"
    if not file.is_file():
        if not is_hub_id(str(source)):
            return None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            file = Path(hf_hub_download(str(source), "README.md"))
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            logger.debug("%s has no card: %s", source, error)
            return None
    text = file.read_text(encoding="utf-8")
    return text if is_ours(text) else None


def _loaded_from(model: Any) -> list[str]:
    names = (getattr(getattr(model, "config", None), "_name_or_path", None), _setfit_source(model))
    return [str(name) for name in names if name]


def _setfit_source(model: Any) -> Any:
    # SetFit keeps no name of its own; its body knows the folder or id that it was read from.
    body = getattr(model, "model_body", None)
    return None if body is None else getattr(body[0].auto_model.config, "_name_or_path", None)


def _head(model: Any) -> LinearHead:
    """Return a SetFit model's classifier, whose classes are labels, or their numbers among the model's labels."""
    import numpy as np

    head = model.model_head
    named = head.classes_.tolist()
    labels = [name if isinstance(name, str) else model.labels[int(name)] for name in named]
    # safetensors writes an array's memory as it lies, whatever its order.
    return LinearHead(tuple(labels), np.ascontiguousarray(head.coef_), np.ascontiguousarray(head.intercept_))
