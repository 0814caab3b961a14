"""The rows that a person reads: drawn of what each check takes out, and of what stays, each beside what it repeats.

A draw depends on the rows alone: they are ordered by a digest of what they say, and tasks take turns until there are
as many as asked for, so that no task has more than its share. A row that several runs hold is drawn once.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

from benchmarks.quality_removed import CheckedRun, Removed
from rebase_hf.quality.contamination import EvaluationGuard, guarded_texts
from rebase_hf.quality.duplicates import NEAR, jaccard, normalise, shared_shingles, shingles, words
from rebase_hf.task import Task

EACH = 50
KEPT = "kept"
_NUMBER = re.compile(r"(?:says what|repeats) (row|example) (\d+)")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A row to be read.

    Attributes:
        check: What took it out, or `kept`.
        fields: The task's fields of the row.
        detail: What the library says of it.
        beside: What it repeats or gives away: an earlier row, an example or an evaluation text; for a kept row the
            earlier kept one and the evaluation text that are most like it by their words. May be empty.
    """

    check: str
    task: str
    fields: Mapping[str, str]
    detail: str
    beside: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What a verdict on it is known by: of the row, and of what it was read beside where that decides."""
        parts = [self.task, *self.fields.values(), *(() if self.check == KEPT else self.beside)]
        return _digest(parts)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\n\n".join(parts).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class _Place:
    beside: "_Beside"
    run: CheckedRun
    removed: Removed


class Sampler:
    """Gathers the rows of one task after the other, and draws of them.

    Attributes:
        counts: How many rows each check takes out, and how many stay, by task.
    """

    def __init__(self, each: int = EACH) -> None:
        self._each = each
        self.counts: dict[str, Counter[str]] = {}
        self._by_check: dict[str, list[list[_Place]]] = {}

    def gather(self, task: Task, guard: EvaluationGuard, runs: Sequence[CheckedRun]) -> None:
        """Take those rows of a task that may be drawn; of each check no more than are asked for in all."""
        places: dict[str, dict[str, _Place]] = {}
        beside = _Beside(task, guard)
        for one in runs:
            for removed in (*one.removed, *one.hard, *(Removed(KEPT, place, "") for place in one.kept)):
                self.counts.setdefault(removed.check, Counter())[task.name] += 1
                key = _digest([task.name, task.input_text(one.run.answers[removed.place].fields)])
                places.setdefault(removed.check, {}).setdefault(key, _Place(beside, one, removed))
        for check, found in places.items():
            self._by_check.setdefault(check, []).append([found[key] for key in sorted(found)[: self._each]])

    def drawn(self) -> dict[str, list[Sampled]]:
        """Return the rows to be read, by check."""
        return {check: list(self._turns(by_task)) for check, by_task in sorted(self._by_check.items())}

    def _turns(self, by_task: Sequence[Sequence[_Place]]) -> Iterator[Sampled]:
        places = (place for turn in zip_longest(*by_task) for place in turn if place is not None)
        return (place.beside.sampled(place.run, place.removed) for place in islice(places, self._each))


class _Beside:
    """Finds what a row repeats, in a task."""

    def __init__(self, task: Task, guard: EvaluationGuard) -> None:
        self._task, self._guard = task, guard
        self._form = frozenset[str]().union(
            *(shared_shingles(example[name] for example in task.examples) for name in task.inputs)
        )
        held = dict.fromkeys([*guard.texts, *map(task.input_text, task.evaluation_rows())])
        self._held = {text: shingles(text) - self._form for text in held}

    def sampled(self, run: CheckedRun, removed: Removed) -> Sampled:
        """Return a row with what a reader needs beside it."""
        fields = run.run.answers[removed.place].fields
        return Sampled(removed.check, self._task.name, fields, removed.detail, self._of(run, removed, fields))

    def _of(self, run: CheckedRun, removed: Removed, fields: Mapping[str, str]) -> tuple[str, ...]:
        check, text = removed.check, self._task.input_text(fields)
        if (named := _NUMBER.search(removed.detail)) is not None:
            number = int(named.group(2))
            row = self._task.examples[number - 1] if named.group(1) == "example" else None
            return (self._shown(row or run.run.answers[run.accepted[number]].fields),)
        if check.startswith("duplicate_"):
            earlier = [place for place in run.accepted if place < removed.place]
            return self._earlier(run, earlier, text, first=NEAR)
        if check == "near_evaluation_set":
            start = removed.detail.partition("evaluation text: ")[2]
            return (next(held for held in self._guard.texts if held.startswith(start)),)
        if check.startswith("evaluation_"):
            return (self._evaluation(fields, text),)
        if check == KEPT:
            nearest = self._earlier(run, [place for place in run.kept if place < removed.place], text, first=None)
            return (*nearest, self._nearest_held(text))
        return ()

    def _earlier(self, run: CheckedRun, places: Sequence[int], text: str, first: float | None) -> tuple[str, ...]:
        """Return the first row that is so like a text, or the one most like it."""
        own, plain, best, most = shingles(text) - self._form, normalise(text), -1, -1.0
        for place in places:
            other = self._task.input_text(run.run.answers[place].fields)
            like = 1.0 if normalise(other) == plain else jaccard(own, shingles(other) - self._form)
            if like > most:
                best, most = place, like
                if first is not None and like >= first:
                    break
        return (self._shown(run.run.answers[best].fields),) if best >= 0 else ()

    def _evaluation(self, fields: Mapping[str, str], text: str) -> str:
        for part in guarded_texts(self._task, fields):
            if (shared := self._guard.overlap(part)) is not None and not self._guard.equals(text):
                run = f" {shared} "
                return next(
                    held
                    for held in self._guard.texts
                    if run in f" {' '.join(words(held))} " or shared == normalise(held)
                )
        return self._nearest_held(text)

    def _nearest_held(self, text: str) -> str:
        own, plain = shingles(text) - self._form, normalise(text)
        return max(self._held, key=lambda held: (normalise(held) == plain, jaccard(own, self._held[held])), default="")

    def _shown(self, fields: Mapping[str, str]) -> str:
        return f"{self._task.input_text(fields)} → {fields[self._task.output]}"
