import threading
import time
from collections.abc import Iterator

import pytest

from rebase_hf.index.source_records import SourceUnusable
from rebase_hf.index.time_budget import TimeBudget


def test_items_come_in_order_and_errors_as_they_were_raised():
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise KeyError("broken")

    for budget in (TimeBudget(None), TimeBudget(30)):
        taken: list[int] = []
        with pytest.raises(KeyError, match="broken"):
            taken.extend(budget.iterate(numbers))  # keeps what came before the error
        assert taken == [0, 1, 2, 3, 4]
        assert budget.call(lambda: "done") == "done"


def test_what_hangs_is_left_behind_and_said():
    hangs = threading.Event()

    def numbers() -> Iterator[int]:
        yield 1
        hangs.wait()

    taken: list[int] = []
    with pytest.raises(SourceUnusable, match=r"took more than 0.3 seconds, and 1 batches") as caught:
        taken.extend(TimeBudget(0.3).iterate(numbers))
    hangs.set()
    assert (taken, caught.value.reason) == ([1], "time_budget")


def test_only_waiting_counts_and_it_counts_over_all_calls():
    budget = TimeBudget(0.5)
    for _ in budget.iterate(lambda: iter(range(3))):
        time.sleep(0.3)  # what the reader does with an item is not the source's fault
    budget.call(lambda: time.sleep(0.3))
    with pytest.raises(SourceUnusable, match="nothing was read yet"):
        budget.call(lambda: time.sleep(0.3))


def test_a_reader_that_nobody_waits_for_ends():
    names = {thread.name for thread in threading.enumerate()}
    items = TimeBudget(30).iterate(lambda: iter(range(10**9)))
    assert next(items) == 0
    items.close()
    deadline = time.monotonic() + 5
    while any(thread.name == "rebase_hf source" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {thread.name for thread in threading.enumerate()} <= names
