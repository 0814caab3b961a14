"""What a callback needs of the Trainer that calls it, and is not handed."""

import inspect
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebase_hf.errors import StudentError

logger = logging.getLogger(__name__)


def calling_trainer() -> Any | None:
    """Return the transformers Trainer that called the event being handled; None where something else did.

    Trainer hands its callbacks everything but itself (transformers 5.23, `CallbackHandler.call_event`). Yet its `log`
    is the only way to every tracker: trackers are callbacks too and come before the user's, so what is put into the
    `logs` of `on_log` reaches none of them. Whoever calls an event is further up the stack, so it is found there;
    nothing is kept of it.
    """
    from transformers import Trainer

    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer):
            return caller
        frame = frame.f_back
    return None


def log_through_trainer(figures: Mapping[str, float], control: Any) -> None:
    """Log figures as the Trainer logs its own: into `log_history`, and to every tracker."""
    trainer = calling_trainer()
    if trainer is None:
        logger.warning("These figures are written to disk alone: no Trainer is there to log them: %s", dict(figures))
        return
    asked = control.should_log
    trainer.log(dict(figures))
    # `log` takes back what the flow has asked for in this step: the training loss is to be logged as well.
    control.should_log = asked


def evaluation_was_missed(args: Any, state: Any, metric: str | None = None) -> bool:
    """Whether a checkpoint lacks the evaluation that follows on it.

    One that was saved at the last step of an epoch was saved before the evaluation at the epoch's end, and a Trainer
    that goes on from it begins with the next epoch (transformers 5.23).

    Args:
        metric: What the evaluation gives; None for anything.
    """
    ended = bool(state.global_step) and float(state.epoch).is_integer() and args.eval_strategy == "epoch"
    logged = [name for line in state.log_history if line["step"] == state.global_step for name in line]
    found = any(name.startswith("eval_") if metric is None else name == metric for name in logged)
    return ended and args.eval_delay <= state.epoch and not found


def keep_in_checkpoints(state: Any, name: str, content: Mapping[str, Any]) -> None:
    """Have the Trainer write JSON into each checkpoint that it saves from now on (`trainer_state.json`).

    Not by `ExportableState`: a Trainer that restores such a callback makes it anew from JSON, without its dataset.
    """
    state.stateful_callbacks[_key(name)] = dict(content)


def found_in_checkpoint(state: Any, name: str) -> dict[str, Any] | None:
    """Return what was kept in the checkpoint that the training goes on from; None where it begins, or has none."""
    found: dict[str, Any] | None = (state.stateful_callbacks or {}).get(_key(name))
    return found


def write_json(state: Any, folder: str | Path, name: str, content: Mapping[str, Any]) -> None:
    """Write JSON into a folder, in the first process alone; readers see the old file or the new one."""
    if state.is_world_process_zero:
        # Sorted, as what comes back from a checkpoint is.
        write_text(Path(folder) / name, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        StudentError: It can't be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise StudentError(f"Can't write {file}: {error}. Make room, or give another output_dir.") from error


def _key(name: str) -> str:
    return f"rebase_hf.{name}"
