import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rebase_hf.index.row_index import RowIndex
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder, word_vector

Rows = Sequence[Mapping[str, Any]]


def made_word(number: int) -> str:
    """Return a word of letters only: what has digits in it may count as an id."""
    return "".join("bdfgklmnprstvz"[number // 14**i % 14] + "aeiou"[(number // 14**i) % 5] for i in range(3)) + "n"


class ChosenEncoder:
    """Reads a text's cosine with the instruction, the inputs and the outputs of a task from the text: `q=.6 a=.2`.

    The three axes stand at right angles. What is left of a vector's length points in a direction of the text's own
    words, so that no two texts are the same.
    """

    name = "chosen"
    dimension = 32
    axes: Mapping[str, int] = {"i": 0, "q": 1, "a": 2}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self._vector(text) for text in texts]).astype(np.float32)

    def _vector(self, text: str) -> np.ndarray:
        own = word_vector(text, self.dimension)
        own[list(self.axes.values())] = 0.0
        chosen = np.zeros(self.dimension)
        for part in text.split():
            name, equals, value = part.partition("=")
            if equals and name in self.axes:
                chosen[self.axes[name]] = float(value)
        left = max(0.0, 1.0 - float(chosen @ chosen))
        return chosen + np.sqrt(left) * own / np.linalg.norm(own)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., RowIndex]:
    """Build an index of sources given as name -> rows; `about` holds descriptions by name."""

    def build(
        sources: Mapping[str, Rows], *, encoder: Any = None, about: Mapping[str, str] | None = None, **options: Any
    ) -> RowIndex:
        paths = [
            write_source(tmp_path / "bank" / name, rows, about=(about or {}).get(name, ""))
            for name, rows in sources.items()
        ]
        return RowIndex.build(tmp_path / "index", paths, encoder=encoder or HashingEncoder(), **options)

    return build


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[Rows], str]:
    def write(rows: Rows) -> str:
        (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / "eval.jsonl")

    return write
