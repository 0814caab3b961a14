"""Duplicates of a whole set: 100,000 made rows of which 15 % repeat others, found again by CPU seconds, and which.

A third of the planted rows are the same text in other case and punctuation, a third have one to three of 60 words
replaced, and a third have nine words of ten replaced by others that mean the same to an encoder made for it. What it
costs to encode is no part of the figures. CPU is of all threads of the process.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.claims import Line, at_least, at_most, parser, report
from benchmarks.made_rows import WORDS, made_text
from rebase_hf.quality.repeats import SEMANTIC, Repetition, find_repeats
from rebase_hf.quality.semantic_duplicates import embed_fields, semantic_duplicates

TARGET_CPU = 30
TARGET_FOUND = 0.99
KINDS = ("exact", "near", "semantic")
PLANTED = 0.05  # of all rows, of each kind
DIMENSION = 384
SYNONYM = "oo"  # no word of the vocabulary ends so


@dataclass(frozen=True, slots=True)
class Made:
    """Rows, and for each planted one its kind and the number of the row that it repeats."""

    texts: list[str]
    planted: dict[int, tuple[str, int]]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=100_000)
    options = made.parse_args()
    rows = made_set(options.rows, seed=0)
    fields = [(text,) for text in rows.texts]
    words, cpu_words, wall_words = timed(lambda: find_repeats(fields))
    left = [number for number in range(len(fields)) if number not in words]
    vectors, cpu_encoder, _ = timed(lambda: embed_fields([fields[number] for number in left], MeaningEncoder()))
    meaning, cpu_meaning, wall_meaning = timed(lambda: semantic_duplicates(vectors, near=SEMANTIC))
    found = words | {
        left[place]: Repetition(left[repeat.of], repeat.similarity, "semantic") for place, repeat in meaning.items()
    }
    lines = [
        Line(
            "all",
            f"exact, near and semantic duplicates of {options.rows:,} rows",
            **at_most(cpu_words + cpu_meaning, TARGET_CPU, "CPU-s", digits=1),
            details={"wall": round(wall_words + wall_meaning, 1), "encoder_cpu": round(cpu_encoder, 1)},
        ),
        Line("words", "of these exact and near ones", f"{cpu_words:.1f} CPU-s, {wall_words:.1f} s"),
        Line(
            "meaning",
            f"semantic ones of what is left, {DIMENSION} dimensions, cosine {SEMANTIC} and above",
            f"{cpu_meaning:.1f} CPU-s, {wall_meaning:.1f} s",
        ),
        Line("chars", "characters a row", f"{sum(map(len, rows.texts)) / len(rows.texts):.0f}"),
        *(found_again(kind, rows, found) for kind in KINDS),
        precision(rows, found),
    ]
    report("quality_duplicates", made, options, lines)


def found_again(kind: str, rows: Made, found: dict[int, Repetition]) -> Line:
    """Return how many of the planted rows of a kind were found, with the row that they repeat."""
    pairs = [(number, of) for number, (planted, of) in rows.planted.items() if planted == kind]
    hits = sum(number in found and root(found, number) == root(found, of) for number, of in pairs)
    as_kind = sum(number in found and found[number].kind == kind for number, _ in pairs)
    return Line(
        f"recall_{kind}",
        f"planted {kind} duplicates found",
        **at_least(hits / len(pairs), TARGET_FOUND, "of them", digits=4),
        details={"planted": len(pairs), "found_as_this_kind": as_kind},
    )


def precision(rows: Made, found: dict[int, Repetition]) -> Line:
    """Return how many of the rows found were planted."""
    share = sum(number in rows.planted for number in found) / max(1, len(found))
    return Line(
        "precision",
        "rows found that were planted",
        **at_least(share, TARGET_FOUND, "of them", digits=4),
        details={"found": len(found), "planted": len(rows.planted)},
    )


def root(found: dict[int, Repetition], number: int) -> int:
    """Return the row that stays for a row: a planted row may be found to repeat another planted one."""
    while number in found:
        number = found[number].of
    return number


def made_set(count: int, *, seed: int) -> Made:
    """Return so many rows, each planted one somewhere behind the row that it repeats."""
    rng = random.Random(seed)
    each = int(count * PLANTED)
    own = count - len(KINDS) * each
    entries: list[tuple[float, str, str | None, int]] = []
    places = [rng.random() for _ in range(own)]
    entries += [(place, made_text(number), None, number) for number, place in enumerate(places)]
    for kind in KINDS:
        for number in rng.sample(range(own), each):
            text = changed(made_text(number), kind, rng)
            entries.append((rng.uniform(places[number], 1.0), text, kind, number))
    entries.sort()
    number_of = {number: place for place, (_, _, kind, number) in enumerate(entries) if kind is None}
    planted = {place: (kind, number_of[number]) for place, (_, _, kind, number) in enumerate(entries) if kind}
    return Made([text for _, text, _, _ in entries], planted)


def changed(text: str, kind: str, rng: random.Random) -> str:
    """Return a text that repeats another in the way of its kind."""
    if kind == "exact":
        return text.upper().replace(" ", ", ", 3) + "!"
    words = text.split()
    if kind == "near":
        for place in rng.sample(range(2, len(words)), rng.randint(1, 3)):
            words[place] = rng.choice(WORDS)
        return " ".join(words)
    others = [word + SYNONYM if rng.random() < 0.9 else word for word in words[2:]]
    return " ".join([*words[:2], *others])


class MeaningEncoder:
    """Sums a fixed random direction for each word; a word and the one with the ending of synonyms share theirs."""

    name, dimension = "benchmark-meaning", DIMENSION

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors."""
        out = np.empty((len(texts), DIMENSION), np.float32)
        for place, text in enumerate(texts):
            known = [_direction(word.strip(".,:!").removesuffix(SYNONYM)) for word in text.lower().split()]
            out[place] = np.sum(known, axis=0)
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        return out


@cache
def _direction(word: str) -> np.ndarray:
    return np.random.default_rng(list(word.encode())).standard_normal(DIMENSION).astype(np.float32)


def timed(work: Any) -> tuple[Any, float, float]:
    """Return what a call returns, its CPU seconds and its seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    done = work()
    return done, time.process_time() - cpu, time.perf_counter() - wall


if __name__ == "__main__":
    main()
