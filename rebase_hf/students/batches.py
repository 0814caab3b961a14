"""In which order rows are shown: labels in turn, and rows of like length together, so that little is padding."""

from collections.abc import Iterator, Sequence

import numpy as np

# Batches sorted by length together. More would pad less, but show a small set's rows in nearly one order.
POOL = 16


def labels_in_turn(label_ids: Sequence[int], shown: int, seed: int) -> list[int]:
    """Return exactly `shown` row numbers, the labels in turn, each label's rows in a shuffled order again and again.

    How often a label was retrieved says nothing about how often it will be met, so all are learnt equally.
    """
    rng = np.random.default_rng(seed)
    ids = np.asarray(label_ids)
    rows = [np.flatnonzero(ids == label) for label in np.unique(ids)]
    rounds = -(-shown // len(rows))
    drawn = [np.concatenate([rng.permutation(own) for _ in range(-(-rounds // len(own)))])[:rounds] for own in rows]
    turns = np.stack(drawn, axis=1)
    # Within a turn in any order: the last batch, or the last turn, holds no label more often than another.
    return [int(row) for turn in rng.permuted(turns, axis=1) for row in turn][:shown]


def by_length(lengths: Sequence[int], distinct: int, batch_size: int, seed: int) -> list[int]:
    """Return the positions in an order whose batches hold rows of like length.

    Only `POOL` batches at a time are sorted, and their batches shuffled, so that the order stays random at large; a
    pool is no larger than the number of distinct rows, else a row would stand beside itself in its batch.

    Args:
        lengths: Of the rows in the order in which they were drawn.
        distinct: How many different rows there are among them.
    """
    rng = np.random.default_rng(seed)
    tokens = np.asarray(lengths)
    pool = batch_size * max(1, min(POOL, distinct // batch_size))
    order: list[int] = []
    for start in range(0, len(tokens), pool):
        ranked = start + np.argsort(tokens[start : start + pool], kind="stable")
        batches = [ranked[first : first + batch_size] for first in range(0, len(ranked), batch_size)]
        # A short batch stays last: before others it would shift every batch that follows.
        whole = len(batches) - (len(batches[-1]) < batch_size)
        shuffled = [batches[place] for place in rng.permutation(whole)] + batches[whole:]
        order.extend(int(position) for batch in shuffled for position in batch)
    return order


def longest_first(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield the positions in batches of like length, the longest first: what does not fit in memory shows at once."""
    ranked = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    for start in range(0, len(ranked), batch_size):
        yield ranked[start : start + batch_size]
