"""What every training here has in common: seeds, one progress bar, quiet libraries, no files left behind."""

import logging
import random
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

PROGRESS_NAME = "rebase_hf.train"


@contextmanager
def training_run(seed: int) -> Iterator[str]:
    """Seed Python, NumPy and torch, and yield a scratch folder; both are as before when the run ends.

    The same inputs give the same weights on the same machine with the same number of threads. A GPU's atomic sums are
    not ordered, so there two runs may differ in the last digits.
    """
    import torch

    # Torch's and transformers' own draws come from the global generators.
    python_state, torch_state = random.getstate(), torch.get_rng_state()
    numpy_state = np.random.get_state()  # noqa: NPY002
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        with tempfile.TemporaryDirectory(prefix="rebase-train-") as scratch, warnings.catch_warnings():
            # A CPU has nothing to pin memory for; SetFit leaves no way to say so.
            warnings.filterwarnings("ignore", message=".*pin_memory.*")
            yield scratch
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)


def hub_bar(**options: Any) -> Any:
    """Return a progress bar that the Hub's switches turn off, all of them or the group `rebase_hf.train` alone."""
    from huggingface_hub import utils as hub_utils

    bar: Any = hub_utils.tqdm  # type: ignore[attr-defined]
    return bar(name=PROGRESS_NAME, **options)


def hub_progress_callback(description: str) -> Any:
    """Return a TrainerCallback that shows the steps in the Hub's bar, so that the Hub's switches turn it off."""
    from transformers import TrainerCallback

    class HubProgress(TrainerCallback):  # type: ignore[misc]
        """One bar a training, updated each optimiser step."""

        bar: Any = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Open the bar."""
            self.bar = hub_bar(total=state.max_steps, desc=description, unit="step", leave=False)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Move the bar."""
            self.bar.update(1)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Close the bar."""
            self.bar.close()

    return HubProgress()


def show_only(trainer: Any, callback: Any) -> None:
    """Let `callback` be all that a trainer shows: its own bar prints the losses on standard output."""
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(callback)


@contextmanager
def logging_as_before(name: str) -> Iterator[None]:
    """Undo what happens inside to the logger `name` and to the warning filters.

    SetFit's import sets its logger to INFO with a handler of its own, and turns deprecation warnings on.
    """
    logger = logging.getLogger(name)
    level, handlers, propagate = logger.level, list(logger.handlers), logger.propagate
    filters = list(warnings.filters)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate
        warnings.filters[:] = filters  # type: ignore[index]


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from drawing bars and telling of new heads around weights on disk; downloads keep theirs."""
    from transformers.utils import logging as transformers_logging

    # Its public switch, disable_progress_bar(), would also turn off every bar of the Hub.
    shown, verbosity = transformers_logging._tqdm_active, transformers_logging.get_verbosity()
    transformers_logging._tqdm_active = False
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging._tqdm_active = shown
        transformers_logging.set_verbosity(verbosity)
