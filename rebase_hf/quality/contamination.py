"""Keep the evaluation set out of training: by the name of a source, by the words of a text, by similarity."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rebase_hf.quality.duplicates import normalise, words
from rebase_hf.task import Task

# The n-gram length of GPT-3's and PaLM's contamination checks; shorter evaluation texts count as a whole.
NGRAM = 13
# A whole text this short ("yes", "what time is it") says nothing about where it comes from.
MIN_CHARS = 20
SIMILAR = 0.95
# What a dataset's name ends in for a language or a version: no part of the family's name.
_SUFFIXES = frozenset(
    ("en", "de", "fr", "es", "it", "pt", "nl", "da", "sv", "pl", "ru", "zh", "ja", "ko", "ar", "hi", "tr", "v", "r")
)


class EvaluationGuard:
    """What an evaluation set says, asked whether a text gives any of it away.

    A text overlaps when it shares 13 words in a row with an evaluation input, or holds a shorter evaluation input
    whole. Where an evaluation row has several inputs, each of at least 20 characters is guarded, and their
    combination. Case, punctuation and blanks do not count.
    """

    def __init__(self, task: Task, rows: Sequence[dict[str, str]]) -> None:
        texts = [task.input_text(row) for row in rows]
        if len(task.inputs) > 1:
            texts += [row[name] for row in rows for name in task.inputs]
        if task.kind == "generation":
            texts += [row[task.output] for row in rows]
        self.texts = tuple(dict.fromkeys(text for text in texts if len(normalise(text)) >= MIN_CHARS))
        self._grams: dict[int, set[tuple[str, ...]]] = {}
        for text in self.texts:
            for gram in _grams(words(text), NGRAM):
                self._grams.setdefault(len(gram), set()).add(gram)
        self._whole = {normalise(task.input_text(row)) for row in rows}

    def __bool__(self) -> bool:
        return bool(self._whole)

    def overlap(self, text: str) -> str | None:
        """Return the words that a text shares with the evaluation set, or None."""
        tokens = words(text)
        for size, grams in self._grams.items():
            for i in range(len(tokens) - size + 1):
                gram = tuple(tokens[i : i + size])
                if gram in grams:
                    return " ".join(gram)
        return None

    def equals(self, text: str) -> bool:
        """Return whether a text is, normalised, a whole evaluation input, however short."""
        return normalise(text) in self._whole


def similar(vectors: NDArray[np.float32], guarded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each vector its highest cosine with a guarded one; -1 where nothing is guarded."""
    if not len(guarded) or not len(vectors):
        return np.full(len(vectors), -1.0, dtype=np.float32)
    highest: NDArray[np.float32] = (vectors @ guarded.T).max(axis=1)
    return highest


def _grams(tokens: list[str], size: int) -> Iterable[tuple[str, ...]]:
    if len(tokens) <= size:
        return [tuple(tokens)]
    return (tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))


def task_names(task: Task) -> tuple[str, ...]:
    """Return the names under which a task's own dataset may stand in an index."""
    references = (task.evaluation, task.train)
    return (task.name, *(r.dataset for r in references if r is not None and r.dataset))


def same_family(dataset: str, names: Iterable[str]) -> bool:
    """Return whether a dataset's name says that it may be the data that one of `names` comes from.

    ReBase bans a source whose address contains the task's name, so that `mnli` lets `multi_nli`, `snli` and `anli`
    through, and `mconala` lets `conala` through. Here a name stands for itself, without a version number, a language
    or a one-letter prefix, and as an acronym (`multi_nli` is `mnli`), and matches a source's name or a run of words.
    """
    runs = _runs(dataset)
    return any(stem in runs for name in names for stem in _stems(name))


def _tokens(name: str) -> list[str]:
    return re.findall(r"[a-z]+|[0-9]+", name.rsplit("/", 1)[-1].lower())


def _plain(tokens: list[str]) -> list[str]:
    kept = [t for i, t in enumerate(tokens) if i == 0 or not (t.isdigit() or t in _SUFFIXES)]
    return kept or tokens


def _stems(name: str) -> set[str]:
    stems = set()
    for tokens in (_tokens(name), _plain(_tokens(name))):
        stems |= {"".join(tokens), "".join(t[0] for t in tokens[:-1]) + tokens[-1]}
    return {s for stem in stems for s in (stem, stem[1:]) if len(s) >= 3 and not s.isdigit()}


def _runs(name: str) -> set[str]:
    tokens = _tokens(name)
    runs = {"".join(tokens[i:j]) for i in range(len(tokens)) for j in range(i + 1, len(tokens) + 1)}
    return runs | {run[1:] for run in runs if len(run) >= 4} | _stems(name)
