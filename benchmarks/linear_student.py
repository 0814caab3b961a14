"""The student of the methods' benchmarks: a linear head on the default sentence encoder, which stays as it is.

It is the head that the SetFit student has (`setfit_training.new_head`), fitted to vectors that nobody trained. That
takes milliseconds, so that methods can be compared over many tasks, seeds and baselines; SetFit itself, which trains
the encoder too, gives higher scores to all of them.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.index.encoders import Encoder, encoder_identity, load_encoder
from rebase_hf.setfit_training import add_missing_labels, new_head
from rebase_hf.task import Task

Array = np.ndarray[Any, Any]
Rows = Sequence[Mapping[str, str]]
Features = Callable[[Task, Rows], Array]


def scratch_folder() -> Path:
    """Return where what is expensive to make is kept between runs; it may be removed at any time."""
    folder = Path(tempfile.gettempdir()) / "rebase-bench-methods"
    folder.mkdir(exist_ok=True)
    return folder


class RememberingEncoder:
    """The default encoder, which encodes no text twice, in this process or the next.

    To an index it is the encoder that it stands for: name and identity are that one's.
    """

    def __init__(self, inner: Encoder | None = None, folder: Path | None = None) -> None:
        self._inner = inner or load_encoder()
        self.name, self.dimension, self.identity = self._inner.name, 0, encoder_identity(self._inner)
        self.dimension = self._inner.dimension
        self.languages = getattr(self._inner, "languages", None)
        self._path = (folder or scratch_folder()) / f"vectors-{self.identity[:16]}.npz"
        self._lock = threading.Lock()
        self._vectors: dict[bytes, Array] = {}
        self._kept = 0
        if self._path.exists():
            with np.load(self._path) as held:
                self._vectors = dict(zip((bytes(key) for key in held["keys"]), held["vectors"], strict=True))
            self._kept = len(self._vectors)

    def encode(self, texts: Sequence[str]) -> Array:
        """Return unit vectors, float32 of shape (number of texts, dimension)."""
        keys = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        with self._lock:
            new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
            if new:
                self._vectors.update(zip(new, self._inner.encode(list(new.values())), strict=True))
            found = [self._vectors[key] for key in keys]
        return np.stack(found) if found else np.zeros((0, self.dimension), np.float32)

    def keep(self) -> None:
        """Write what was encoded since it was last written, for the next process."""
        if len(self._vectors) == self._kept:
            return
        keys = np.frombuffer(b"".join(self._vectors), np.uint8).reshape(-1, 16)
        beside = self._path.with_suffix(f".{os.getpid()}.part.npz")
        np.savez(beside, keys=keys, vectors=np.stack(list(self._vectors.values())))
        beside.rename(self._path)
        self._kept = len(self._vectors)


def text_vectors(encoder: Encoder) -> Features:
    """Return what makes an example a vector: its inputs as one text."""
    return lambda task, rows: np.asarray(encoder.encode([task.input_text(row) for row in rows]))


def fit_and_predict(task: Task, features: Features, rows: Rows, held_out: Rows, *, strength: float = 1.0) -> Array:
    """Return the places, in the task's labels, of what a student that learnt from `rows` says of `held_out`.

    A label without a row is learnt from its phrase, as by every classification student.

    Args:
        strength: Inverse strength of the penalty (`C`).
    """
    names = list(task.labels)
    _, labels = add_missing_labels([""] * len(rows), [row[task.output] for row in rows], task.labels)
    phrases = [dict.fromkeys(task.inputs, "") | {task.inputs[0]: task.labels[label]} for label in labels[len(rows) :]]
    head = new_head()
    head.C = strength
    head.fit(features(task, [*rows, *phrases]), labels)
    return np.asarray([names.index(label) for label in head.predict(features(task, held_out))])


def phrase_rows(task: Task) -> list[dict[str, str]]:
    """Return the labels' phrases as rows with these labels; none where a label is its own phrase."""
    empty = dict.fromkeys(task.inputs, "")
    described = {label: phrase for label, phrase in task.labels.items() if phrase != label}
    return [empty | {task.inputs[0]: phrase, task.output: label} for label, phrase in described.items()]
