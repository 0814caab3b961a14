"""Which column of a source stands for which input field of a task."""

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from rebase_hf.index.encoders import encode_texts
from rebase_hf.index.roles import named_role
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.scoring import TaskQueries
from rebase_hf.rows import SourceRow
from rebase_hf.task import Task

# So many rows of a source decide; its columns mean the same in the others.
VOTING_ROWS = 200
# A name's cosine against a content's: contents spread over .05 to .2 within a source, names over .1 to 1.
NAME_WEIGHT = 0.5


class FieldColumns:
    """For each input field a source's columns, the likeliest first, by what they are called and what they hold.

    Row by row, the nearest cell would be now a customer's message and now the agent's answer to it, which is as near
    to the examples. The name tells them apart: `customer` is nearer to the field and the instruction than `agent`.
    ReBase's argmax columns, which decide a row's score, stay what they are; this says which cell can stand in for an
    input. A column of labels, names of templates or languages say, cannot, nor one of answers beside what they
    answer, but for an input that is called so itself.
    """

    def __init__(self, task: Task, index: RowIndex, queries: TaskQueries, *, junk: bool) -> None:
        self._task, self._index, self._queries, self._junk = task, index, queries, junk
        self._ranked: dict[int, dict[str, tuple[str, ...]]] = {}
        asked = [text for name in task.inputs for text in (_words(name), f"{_words(name)}. {task.instruction}")]
        self._names = encode_texts(index.encoder, asked).reshape(len(task.inputs), 2, -1).mean(axis=1)

    def of(self, source: int, row: SourceRow) -> dict[str, str]:
        """Return the row's column for each input field; two fields share one only where it has no other."""
        if source not in self._ranked:
            self._ranked[source] = self._rank(source)
        found: dict[str, str] = {}
        for name, ranked in self._ranked[source].items():
            here = [column for column in ranked if column in row.cells]
            if here:
                found[name] = next((column for column in here if column not in found.values()), here[0])
        return found

    def _rank(self, source: int) -> dict[str, tuple[str, ...]]:
        keys = np.asarray(self._index.source_keys(source)[:VOTING_ROWS])
        contents = self._index.column_scores(self._queries.fields, keys, junk=self._junk)
        if not contents:
            return {name: () for name in self._task.inputs}
        columns = list(contents)
        roles = self._index.sources[source].roles
        called = [self._index.sources[source].columns[column] for column in columns]
        names = encode_texts(self._index.encoder, [_words(name) for name in called]) @ self._names.T
        likely = np.stack([contents[column] for column in columns]) + NAME_WEIGHT * names
        order = np.argsort(-likely, axis=0, kind="stable")
        barred = set() if self._junk else self._barred(source, keys)
        return {
            name: tuple(
                called[i]
                for i in order[:, place]
                if called[i] not in barred or _called_so(called[i], roles[columns[i]], name)
            )
            for place, name in enumerate(self._task.inputs)
        }

    def _barred(self, source: int, keys: NDArray[np.int64]) -> set[str]:
        """Return a source's columns of labels, and those of answers if it has what they answer."""
        about = self._index.sources[source]
        roles = dict(zip(about.columns, about.roles, strict=True))
        labels, answers = ({name for name, role in roles.items() if role == one} for one in ("label", "answer"))
        if not answers or {"question", "context"} & set(roles.values()):
            return labels | answers
        # Names alone do not say what `target` answers. It may be any column of texts that are no shorter.
        chars: Counter[str] = Counter()
        for row in self._index.rows(keys):
            chars.update({name: len(text) for name, text in row.cells.items()})
        longest = max((chars[name] for name, role in roles.items() if role in ("text", "title")), default=-1)
        return labels | {name for name in answers if chars[name] <= longest}


def _called_so(column: str, role: str, field: str) -> bool:
    return _words(column) == _words(field) or named_role(field) == role


def _words(name: str) -> str:
    """Return a column's name as words: `guest_message` and `guestMessage` are "guest message"."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").replace(".", " ").split())
