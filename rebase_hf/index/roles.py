"""What a column of a source is for: found once, when the source is read, and searched by.

By the column's name where it says so, else by what it holds. A search held to roles looks at the cells of such columns
only, so that a question is not answered by the passage that happens to repeat it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rebase_hf.errors import RowIndexError

ROLES = ("question", "answer", "label", "title", "context", "text")

# Labels come from a short list: at most so many values, each of so many characters at most, each seen so often.
MAX_LABELS = 50
MAX_LABEL_CHARS = 60
LABEL_REPEATS = 5
# A column whose texts are longer than this on average is what others are about.
CONTEXT_CHARS = 600

_NAMES: Mapping[str, frozenset[str]] = {
    "label": frozenset({"label", "labels", "class", "category", "intent", "sentiment", "emotion", "topic", "stance"}),
    "title": frozenset({"title", "headline", "heading", "subject"}),
    "question": frozenset({"question", "questions", "query", "prompt", "instruction", "problem", "goal"}),
    "answer": frozenset({"answer", "answers", "response", "responses", "completion", "output", "solution", "target"}),
    "context": frozenset({"context", "contexts", "passage", "document", "article", "paragraph", "abstract", "story"}),
}
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


class RoleJudge:
    """Watches a source's cells go by, and says at the end what its columns are for.

    Args:
        class_columns: Columns that are declared to hold class names.
    """

    def __init__(self, class_columns: Collection[str] = ()) -> None:
        self._classes = frozenset(class_columns)
        self._seen: dict[str, list[Any]] = {}  # column: cells, characters, distinct short values or None

    def see(self, column: str, text: str) -> None:
        """Take note of a cell."""
        about = self._seen.setdefault(column, [0, 0, set()])
        about[0] += 1
        about[1] += len(text)
        if about[2] is not None:
            about[2].add(text[: MAX_LABEL_CHARS + 1])
            if len(text) > MAX_LABEL_CHARS or len(about[2]) > MAX_LABELS:
                about[2] = None

    def roles(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the role of each column."""
        return tuple(self._role(column) for column in columns)

    def _role(self, column: str) -> str:
        cells, chars, values = self._seen[column]
        if column in self._classes:
            return "label"
        if (named := named_role(column)) is not None:
            return named
        if values is not None and cells >= LABEL_REPEATS * len(values):
            return "label"
        return "context" if chars > CONTEXT_CHARS * cells else "text"


def check_roles(roles: Collection[str]) -> frozenset[str]:
    """Return the roles as a set.

    Raises:
        RowIndexError: One is unknown, or there is none.
    """
    wanted = frozenset(roles)
    unknown = sorted(wanted - set(ROLES))
    if unknown or not wanted:
        named = f"`{unknown[0]}` is no column role" if unknown else "`roles` is empty"
        raise RowIndexError(f"{named}; expected some of {', '.join(ROLES)}.")
    return wanted


def named_role(column: str) -> str | None:
    """Return the role that a name tells: the last word that says one, as in `question_text` or `answers.text`."""
    for word in reversed(_WORDS.findall(column)):
        for role, words in _NAMES.items():
            if word.lower() in words:
                return role
    return None
