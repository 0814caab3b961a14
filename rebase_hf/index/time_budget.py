"""How long one source may keep a build waiting, also where a read over the network never returns."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rebase_hf.index.source_records import SourceUnusable

T = TypeVar("T")

# Items read ahead; with batches of 256 rows that is what a reader may hold beyond what was taken.
AHEAD = 2


class TimeBudget:
    """Seconds that may be spent on waiting for one source, opening and reading it together.

    What runs under a budget runs in a daemon thread. Nothing can end a thread that hangs in a read, so one that is
    over its budget is left behind: it ends with its read, or with the process.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._left = seconds

    def call(self, function: Callable[[], T]) -> T:
        """Return what the function returns.

        Raises:
            SourceUnusable: `time_budget`; or what the function raises.
        """
        if self._left is None:
            return function()
        return next(self.iterate(lambda: iter([function()])))

    def iterate(self, make: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Yield what the iterator yields; only the time that the caller waits for it is counted.

        Raises:
            SourceUnusable: `time_budget`; or what the iterator raises.
        """
        if self._left is None:
            yield from make()
            return
        items: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(AHEAD)
        stopped = threading.Event()
        threading.Thread(target=_read, args=(make, items, stopped), daemon=True, name="rebase_hf source").start()
        taken = 0
        try:
            while True:
                kind, item = self._next(items, taken)
                if kind == "error":
                    assert isinstance(item, BaseException)
                    raise item
                if kind == "end":
                    return
                taken += 1
                yield item  # type: ignore[misc]  # of kind "item"
        finally:
            stopped.set()

    def _next(
        self, items: "queue.Queue[tuple[str, T | BaseException | None]]", taken: int
    ) -> tuple[str, T | BaseException | None]:
        assert self._left is not None
        began = time.monotonic()
        try:
            if self._left <= 0:
                raise queue.Empty
            return items.get(timeout=self._left)
        except queue.Empty:
            how_far = f"{taken} batches of rows were read" if taken else "nothing was read yet"
            raise SourceUnusable(
                "time_budget", f"it took more than {self._seconds:g} seconds, and {how_far}; give it more"
            ) from None
        finally:
            self._left -= time.monotonic() - began


def _read(
    make: Callable[[], Iterator[T]],
    items: "queue.Queue[tuple[str, T | BaseException | None]]",
    stopped: threading.Event,
) -> None:
    def put(kind: str, item: T | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                items.put((kind, item), timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    try:
        for item in make():
            if not put("item", item):
                return
        put("end", None)
    except BaseException as error:  # noqa: BLE001 - it is raised again, in the caller's thread
        put("error", error)
