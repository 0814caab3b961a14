"""An encoder as a user may bring one: no model, no download; texts that share words lie near each other."""

import hashlib
import os
import re
import signal
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np


class HashingEncoder:
    """Sums a fixed random direction for each word.

    Attributes:
        log: A file that gets every encoded text, one a line.
        kill_at: Once a text contains this, the process kills itself with SIGKILL, as a power cut would.
    """

    def __init__(
        self, dimension: int = 48, *, name: str = "hashing", log: Path | None = None, kill_at: str | None = None
    ):
        self.name = name
        self.dimension = dimension
        self.log = log
        self.kill_at = kill_at

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if self.kill_at is not None and any(self.kill_at in text for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as stream:
                stream.writelines(text.replace("\n", " ") + "\n" for text in texts)
        vectors = np.stack([sum(word_vector(word, self.dimension) for word in words(text)) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def words(text: str) -> list[str]:
    return ["<text>", *re.findall(r"\w+", text.lower())]


@cache
def word_vector(word: str, dimension: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    scale = 0.2 if word == "<text>" else 1.0
    return scale * np.random.default_rng(seed).standard_normal(dimension)
