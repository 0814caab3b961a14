"""How a grounded student reads and votes, and what an answer rests on."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.methods.adaptive import log_popularity
from rebase_hf.methods.grounded_text import MARKER, read_answer
from rebase_hf.quality.answers import answer_key
from rebase_hf.students.passages import Passage
from rebase_hf.students.seq2seq import MAX_TARGET_TOKENS
from rebase_hf.task import Task


@dataclass(frozen=True, slots=True)
class Reading:
    """How a student retrieves, samples and votes; KARD's numbers (arXiv 2305.18395).

    Attributes:
        passages: How many it reads; 0 for none; None for as many as most were given in training.
        candidates: Rows found by the question's words, from which its reranker chooses.
        votes: Rationales written for each input; one alone is the likeliest, several are sampled.
        max_tokens: The longest that a rationale and its answer may be.
        top_k: Sampled from so many of the likeliest tokens,
        top_p: which make up so much of the probability.
        seed: With the input, decides what is drawn.
        threshold: Passages are read only where the candidate whose words fit the question best has this BM25 or more
            (`Evidence.nearness`); None reads them always (after Adaptive Retrieval, 2212.10511).
        popularity_column: Inputs with a count under this name, such as page views, are read without passages, and
            nothing is looked up for them, where its log10 reaches `threshold`, which is then no BM25. Inputs without
            one get passages.
    """

    passages: int | None = None
    candidates: int = 100
    votes: int = 5
    max_tokens: int = MAX_TARGET_TOKENS
    top_k: int = 50
    top_p: float = 0.95
    seed: int = 0
    threshold: float | None = None
    popularity_column: str | None = None

    def check(self) -> None:
        """Raise StudentError for a number that nothing can be read by."""
        for name, least in (("passages", 0), ("candidates", 1), ("votes", 1), ("max_tokens", 1), ("top_k", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise StudentError(f"Reading: `{name}` is {value!r}; expected a whole number, {least} or more.")
        if not 0.0 < self.top_p <= 1.0:
            raise StudentError(f"Reading: `top_p` is {self.top_p!r}; expected a share above 0 and up to 1.")
        if self.threshold is not None and not abs(self.threshold) < float("inf"):
            raise StudentError(f"Reading: `threshold` is {self.threshold!r}; expected a number, or None.")
        if (self.passages or 0) > self.candidates:
            raise StudentError(f"Reading: {self.passages} passages can't be chosen from {self.candidates} candidates.")

    def popularity(self, row: Any) -> float | None:
        """Return how popular is what an input asks about, where it says so.

        Raises:
            StudentError: What it says is no count.
        """
        if self.popularity_column is None or not isinstance(row, Mapping):
            return None
        if (said := row.get(self.popularity_column)) is None:
            return None
        try:
            return float(said)
        except (TypeError, ValueError) as error:
            raise StudentError(
                f"An input has {said!r:.80} as `{self.popularity_column}`; expected a count, or leave it out."
            ) from error

    def goes_without(self, nearness: float, popularity: float | None) -> bool:
        """Return whether an input is read without passages."""
        if self.threshold is None:
            return False
        if self.popularity_column is None:
            return nearness < self.threshold
        return popularity is not None and log_popularity(popularity) >= self.threshold

    @classmethod
    def read(cls, held: Any, folder: Path) -> "Reading":
        """Return what a saved student's facts say of it.

        Raises:
            StudentError: They are damaged, or of another version.
        """
        try:
            reading = cls(**held)
            reading.check()
        except TypeError as error:
            raise StudentError(
                f"{folder} says of its reading {held!r:.200}, which this version can't read ({error}). The student is "
                "damaged, or of a newer rebase-hf."
            ) from error
        return reading


@dataclass(frozen=True, slots=True)
class Evidence:
    """An answer and what it rests on.

    Attributes:
        votes: How often each answer was written, the first written first; what held none has no vote.
        written: All that the student wrote, each a rationale and an answer.
        passages: What it read, best first, with their sources.
        nearness: BM25 of the candidate whose words fit the question best, read or not; 0 where none was found.
    """

    answer: str
    votes: Mapping[str, int]
    written: tuple[str, ...]
    passages: tuple[Passage, ...]
    nearness: float = 0.0

    @property
    def rationales(self) -> tuple[str, ...]:
        """The rationales alone."""
        return tuple((text.rpartition(MARKER)[0] or text).strip() for text in self.written)

    @property
    def unreadable(self) -> int:
        """How many of the texts held no answer."""
        return len(self.written) - sum(self.votes.values())


def settle(task: Task, written: Sequence[str], *, usual: str | None = None) -> tuple[str, dict[str, int]]:
    """Return the answer that most texts give, and the votes; of equally frequent ones the first written.

    Answers that say the same (`answer_key`) are one, as it was first written. A text from which no answer can be read
    casts no vote. Where none casts one, the first text decides: of a task with labels the label that is named last in
    it, failing any `usual`; of another what stands behind the marker, or all.
    """
    read = [answer for text in written if (answer := read_answer(task, text)) is not None]
    spelled: dict[str, str] = {}
    votes = dict(Counter(spelled.setdefault(answer_key(task, answer), answer) for answer in read))
    if votes:
        return max(votes, key=lambda answer: votes[answer]), votes
    if not task.labels:
        return written[0].rpartition(MARKER)[2].strip(), votes
    return _named_last(task, written[0]) or usual or next(iter(task.labels)), votes


def _named_last(task: Task, text: str) -> str | None:
    """Return the label that ends last in a text, in whatever case; of those that end there the longest."""
    ends = []
    for label in task.labels:
        found = [match.end() for match in re.finditer(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE)]
        ends += [(found[-1], len(label), label)] if found else []
    return max(ends)[2] if ends else None
