"""Real-looking rows for the benchmarks of the index: sentences of the kit's rows put together anew, or of made words.

With REBASE_KIT naming the kit's folder its rows are cut into sentences; without it the words are drawn from a made
vocabulary, as often as words of a language (Zipf).
"""

import functools
import itertools
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

KIT = os.environ.get("REBASE_KIT")
WORDS = 60_000
MIN_CHARS = 160  # rows of about 240 characters on average
_SENTENCE = re.compile(r"(?<=[.!?\n])\s+")


def made_rows(count: int, seed: int = 0) -> Iterator[list[str]]:
    """Yield rows of one or two cells, about 240 characters long; the same for the same seed."""
    rng = random.Random(seed)
    sentence = functools.partial(rng.choice, kit_sentences()) if KIT else functools.partial(_made_sentence, rng)
    for number in range(count):
        parts = [sentence()]
        while sum(map(len, parts)) < MIN_CHARS:
            parts.append(sentence())
        yield [" ".join(parts)] if number % 3 else [parts[0], " ".join(parts[1:] or parts)]


def made_queries(rows: list[list[str]], count: int, words: int = 8, seed: int = 1) -> list[str]:
    """Return queries of so many words, each words that follow each other in a row, the common ones included."""
    rng = random.Random(seed)
    queries: list[str] = []
    while len(queries) < count:
        held = re.findall(r"[^\W\d_]{2,}", " ".join(rng.choice(rows)).lower())
        if len(held) >= words:
            start = rng.randrange(len(held) - words + 1)
            queries.append(" ".join(held[start : start + words]))
    return queries


def kit_rows() -> list[list[str]]:
    """Return the text cells of the kit's rows, source by source, in order."""
    import pyarrow.parquet as parquet

    rows = []
    for path in sorted(Path(KIT or "").glob("bank/*/data/*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            if cells := [value for value in row.values() if isinstance(value, str) and value]:
                rows.append(cells)
    return rows


@functools.cache
def kit_sentences() -> list[str]:
    """Return the distinct sentences of the kit's rows, 20 to 400 characters long."""
    found = {
        part.strip(): None for cells in kit_rows() for cell in cells for part in _SENTENCE.split(cell) if part.strip()
    }
    return [sentence for sentence in found if 20 <= len(sentence) <= 400]


@functools.cache
def _vocabulary() -> tuple[list[str], list[float]]:
    rng = random.Random(7)
    syllables = ["".join(pair) for pair in itertools.product("bcdfghklmnprstvw", "aeiou")]
    words = ["".join(rng.choices(syllables, k=rng.choice((1, 2, 2, 3, 3, 4)))) for _ in range(WORDS)]
    return words, list(itertools.accumulate(1 / (rank + 2.7) for rank in range(WORDS)))


def _made_sentence(rng: random.Random) -> str:
    words, weights = _vocabulary()
    return " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(5, 25))).capitalize() + "."
