"""The checks that need the whole set: what repeats what in other words, what is near the evaluation set, balance.

They come after the gate, on all that it let through, one after another: each looks at what those before it left. What
others have decided of the set (cartography, answerability) comes first, as a `Verdict` on every row.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rebase_hf.index.encoders import Encoder, encode_texts
from rebase_hf.quality.answer_checks import SHORT_CHARS
from rebase_hf.quality.answers import answer_key
from rebase_hf.quality.balance import balanced_rows
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.checks import Fields, Refusal
from rebase_hf.quality.contamination import EvaluationGuard, guarded_texts
from rebase_hf.quality.gate import CheckStep
from rebase_hf.quality.semantic_duplicates import embed_fields, nearest_held, semantic_duplicates
from rebase_hf.rows import Dropped, Example
from rebase_hf.task import Task

OFF = "it is off"
_NUMBER = re.compile(r"\d+")
# Takes the places that are left, and returns why some of them go.
WholeCheck = Callable[[Sequence[int]], Mapping[int, Refusal]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What something else says of a whole set.

    Attributes:
        reason: A short snake_case word, the same wherever this reason is counted.
        keep: Whether each row stays.
        details: What a person needs to understand it, for each row; may be empty.
    """

    reason: str
    keep: Sequence[bool]
    details: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class WholeSet:
    """A set, checked: every row given is among the kept or the dropped.

    Attributes:
        kept: In the order given.
        places: Where in the set given each of them stood.
        dropped: By the place where each stood, in that order.
    """

    kept: tuple[Example, ...]
    places: tuple[int, ...]
    dropped: Mapping[int, Dropped]


def whole_set_steps(task: Task, options: CheckOptions, verdicts: Sequence[str] = ()) -> tuple[CheckStep, ...]:
    """Return the checks of the whole set, in the order in which they are applied; `verdicts` are others' reasons."""
    meaning = None if options.semantic_duplicates is not None else OFF
    near = None if options.similar_to_evaluation is not None else OFF
    balance = None if options.balance else OFF
    return (
        *(CheckStep((reason,), None) for reason in verdicts),
        CheckStep(("semantic_copy", "semantic_duplicate"), meaning),
        CheckStep(("near_evaluation_set",), near),
        CheckStep(("label_surplus",), balance if task.labels else "the task has no labels"),
    )


def check_whole_set(
    task: Task,
    examples: Sequence[Example | Fields],
    options: CheckOptions,
    *,
    guard: EvaluationGuard | None = None,
    encoder: Encoder | None = None,
    verdicts: Sequence[Verdict] = (),
    seed: int = 0,
) -> WholeSet:
    """Return which examples stay, and why the others do not.

    Args:
        examples: Examples, or the task's fields of each, in the order in which they were accepted: of two that repeat
            each other the first stays.
        guard: What the evaluation sets say; for `similar_to_evaluation`.
        encoder: For `semantic_duplicates` and `similar_to_evaluation`.

    Raises:
        TaskError: The set can't be balanced as asked.
        ValueError: A verdict does not fit the set, or a check lacks its encoder or guard.
    """
    given = [example if isinstance(example, Example) else Example(dict(example), None, {}) for example in examples]
    fields = [example.fields for example in given]
    checks: list[WholeCheck] = [_verdict(verdict, len(given)) for verdict in verdicts]
    if options.semantic_duplicates is not None:
        checks.append(_semantic(task, fields, options.semantic_duplicates, encoder))
    if options.similar_to_evaluation is not None:
        checks.append(_near_held(task, fields, options.similar_to_evaluation, guard, encoder))
    if options.balance and task.labels:
        target = options.balance if isinstance(options.balance, Mapping) else None
        checks.append(_balance([row[task.output] for row in fields], target, seed))
    dropped: dict[int, Dropped] = {}
    left: Sequence[int] = range(len(given))
    for check in checks:
        refused = check(left)
        dropped |= {place: _dropped(given[place], refused[place]) for place in left if place in refused}
        left = [place for place in left if place not in refused]
    return WholeSet(tuple(given[place] for place in left), tuple(left), dict(sorted(dropped.items())))


def _verdict(verdict: Verdict, count: int) -> WholeCheck:
    if len(verdict.keep) != count or len(verdict.details) not in (0, count):
        raise ValueError(
            f"Verdict `{verdict.reason}` is of {len(verdict.keep)} rows with {len(verdict.details)} details; the set "
            f"has {count}. Give one for each row, in their order."
        )
    details = verdict.details or [""] * count
    return lambda left: {place: (verdict.reason, details[place]) for place in left if not verdict.keep[place]}


def _semantic(task: Task, fields: Sequence[Fields], near: float, encoder: Encoder | None) -> WholeCheck:
    if encoder is None:
        raise ValueError(f"semantic_duplicates={near} needs an encoder. Give one.")
    shots = len(task.examples)
    rows: list[Fields] = [*task.examples, *fields]
    told = [_told_exactly(task, row) for row in rows]

    def check(left: Sequence[int]) -> dict[int, Refusal]:
        alike: dict[tuple[str, ...], list[int]] = {}
        for number in (*range(shots), *(shots + place for place in left)):
            alike.setdefault(told[number], []).append(number)
        several = [numbers for numbers in alike.values() if len(numbers) > 1]
        texts = [[rows[number][name] for name in task.inputs] for numbers in several for number in numbers]
        vectors = embed_fields(texts, encoder)
        refused, start = {}, 0
        for numbers in several:
            repeats = semantic_duplicates(vectors[start : start + len(numbers)], near=near)
            start += len(numbers)
            for place, repeat in repeats.items():
                if numbers[place] >= shots:
                    refused[numbers[place] - shots] = _said_before(numbers[repeat.of], repeat.similarity, shots)
        return refused

    return check


def _said_before(number: int, similarity: float, shots: int) -> Refusal:
    how = f"in other words (similarity {similarity:.3f})"
    if number < shots:
        return "semantic_copy", f"says what example {number + 1} of the task says, {how}"
    return "semantic_duplicate", f"says what row {number - shots} says, {how}"


def _told_exactly(task: Task, fields: Fields) -> tuple[str, ...]:
    """Return what rows that say the same in other words have in common, since an encoder hardly sees it.

    To it `three or four` is nearly `four or five`. Rows say the same only where they have the same numbers, and the
    same output if that is a label, a span or short: of near inputs with different outputs, either the difference is
    what is to be learnt or one output is wrong, and it takes more to say which.
    """
    output = fields[task.output]
    short = task.labels or task.extractive or len(output.strip()) <= SHORT_CHARS
    numbers = sorted(number for name in task.inputs for number in _NUMBER.findall(fields[name]))
    return (answer_key(task, output) if short else "", *numbers)


def _near_held(
    task: Task, fields: Sequence[Fields], near: float, guard: EvaluationGuard | None, encoder: Encoder | None
) -> WholeCheck:
    if guard is None or encoder is None:
        raise ValueError(f"similar_to_evaluation={near} needs the evaluation guard and an encoder. Give both.")
    held = guard.texts

    def check(left: Sequence[int]) -> dict[int, Refusal]:
        said = [(place, text) for place in left for text in dict.fromkeys(guarded_texts(task, fields[place]))]
        if not held or not said:
            return {}
        closest, cosines = nearest_held(encode_texts(encoder, [text for _, text in said]), encode_texts(encoder, held))
        refused: dict[int, Refusal] = {}
        for (place, _), number, cosine in zip(said, closest.tolist(), cosines.tolist(), strict=True):
            if cosine >= near:
                shown = f"has the similarity {cosine:.3f} with an evaluation text: {held[number][:200]}"
                refused.setdefault(place, ("near_evaluation_set", shown))
        return refused

    return check


def _balance(labels: Sequence[str], target: Mapping[str, float] | None, seed: int) -> WholeCheck:
    def check(left: Sequence[int]) -> dict[int, Refusal]:
        keep = balanced_rows([labels[place] for place in left], target, seed=seed)
        return {
            place: ("label_surplus", f"`{labels[place]}` has more rows than its share of the balanced set")
            for place, stays in zip(left, keep, strict=True)
            if not stays
        }

    return check


def _dropped(example: Example, refusal: Refusal) -> Dropped:
    return Dropped("checks", *refusal, key=example.provenance.get("prompt_id"))
