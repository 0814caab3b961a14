"""What several processes of one training share: the rows to look at, and what one of them alone may ask for.

Without torch.distributed, or before it is initialised, there is one process, and nothing here imports torch.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebase_hf.errors import TeacherError

# Who waits for another process gives up after a while (torch.distributed: 10 to 30 minutes, by its backend); a sign
# of life comes this often.
BEAT_SECONDS = 20.0


def process_group() -> tuple[int, int]:
    """Return how many processes train together, and which of them this one is."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 1, 0
    return distributed.get_world_size(), distributed.get_rank()


def share_of_rows(rows: Sequence[int]) -> list[int]:
    """Return the rows that this process looks at, as many as every other: some twice, where they can't be dealt out.

    Equally many, since a model that is sharded over the processes answers only to all of them together.
    """
    world, rank = process_group()
    return [rows[(rank + world * step) % len(rows)] for step in range(-(-len(rows) // world))]


def gather_rows(own: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the figures of all rows, (count, figures), from those of the rows that each process looked at."""
    world, _ = process_group()
    if world == 1:
        return own
    import torch.distributed as distributed

    parts: list[Any] = [None] * world
    distributed.all_gather_object(parts, own)
    return np.stack(parts, axis=1).reshape(-1, own.shape[1])[:count]


def only_first_process(ask: Callable[[], Any], *, beat: float = BEAT_SECONDS) -> Any:
    """Return what `ask` returns, called in the first process alone; the others wait and get the same.

    Args:
        beat: Seconds between signs of life, for those that wait.

    Raises:
        The error that it ended with; in the other processes a TeacherError that says so.
    """
    world, rank = process_group()
    if world == 1:
        return ask()
    return _lead(ask, beat) if rank == 0 else _follow()


def _lead(ask: Callable[[], Any], beat: float) -> Any:
    answer: list[Any] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised again below, when the others know
            failed.append(error)

    worker = threading.Thread(target=work, name="rebase-first-process", daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(beat)
        if worker.is_alive():
            _broadcast("wait", None)
    if failed:
        _broadcast("failed", f"{type(failed[0]).__name__}: {failed[0]}")
        raise failed[0]
    _broadcast("done", answer[0])
    return answer[0]


def _follow() -> Any:
    while True:
        said, content = _broadcast("wait", None)
        if said == "done":
            return content
        if said == "failed":
            raise TeacherError(f"The first process, which alone asks the teacher, ended with {content}")


def _broadcast(said: str, content: Any) -> tuple[str, Any]:
    import torch.distributed as distributed

    message: list[Any] = [said, content]
    distributed.broadcast_object_list(message, src=0)
    return message[0], message[1]
