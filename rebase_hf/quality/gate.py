"""The online decision: from an answer, and those accepted before it, to an Example or a Dropped with its reason.

Decisions are taken in candidate-rank order, never in the order in which answers arrive, so that the same inputs give
the same dataset whatever the concurrency.
"""

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from rebase_hf.public_text import public_name
from rebase_hf.quality.answer_checks import AnswerCheck, answer_checks
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.checks import Refusal, settle_label
from rebase_hf.quality.contamination import EvaluationGuard, guarded_texts
from rebase_hf.quality.duplicates import NearDuplicates, shared_shingles
from rebase_hf.rows import Completion, Draft, Dropped, Example
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Parsed


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One of the checks that `Gate` applies, for who tells what became of an answer.

    Attributes:
        reasons: What it can refuse an answer for.
        idle: Why it says nothing of the answers of a run; None where it does.
    """

    reasons: tuple[str, ...]
    idle: str | None

    @property
    def name(self) -> str:
        """What it is called: its reasons."""
        return " or ".join(self.reasons)


def check_steps(task: Task, options: CheckOptions, *, guarded: bool, sure: bool) -> tuple[CheckStep, ...]:
    """Return the checks in the order in which `Gate` applies them; the first that refuses an answer ends it.

    Args:
        guarded: The task has an evaluation set.
        sure: The teacher says how sure it is.
    """
    bounded = options.min_confidence is not None or options.confident_share is not None
    capped = options.label_share is not None and bool(task.labels)
    unguarded = None if guarded or options.evaluation_sets else "there is no evaluation set"
    return (
        *(CheckStep(check.reasons, check.idle) for check in _answer_checks(task, options)),
        CheckStep(("not_answerable",), None if options.answerable else "it is off"),
        CheckStep(("inconsistent_answers",), "it is off" if options.consistent is None else None),
        CheckStep(
            ("low_confidence",),
            "the teacher does not say how sure it is" if not sure else None if bounded else "any confidence will do",
        ),
        CheckStep(("in_evaluation_set",), unguarded if options.guard_evaluation else "it is off"),
        CheckStep(("label_full",), None if capped else "labels have no limit"),
        CheckStep(
            ("few_shot_copy", "duplicate_output"), None if options.near_duplicates is not None else "repeats may stay"
        ),
    )


def _answer_checks(task: Task, options: CheckOptions) -> tuple[AnswerCheck, ...]:
    return answer_checks(
        task, refusals=options.refusals, length_factor=options.length_factor, language=options.language
    )


class Gate:
    """Decides answer after answer, in rank order.

    Args:
        repeats_inputs: Several examples of one input are wanted, which may be one of the task's own: they repeat each
            other only where their rationales do too.
    """

    def __init__(
        self,
        task: Task,
        guard: EvaluationGuard,
        options: CheckOptions,
        *,
        method: str,
        teacher: str,
        num_examples: int,
        seed: int = 0,
        label_shares: Mapping[str, float] | None = None,
        repeats_inputs: bool = False,
    ) -> None:
        self._task = task
        self._repeats = repeats_inputs
        self._guard = guard if options.guard_evaluation else EvaluationGuard(task, [])
        self._options = options
        self._answer_checks = _answer_checks(task, options)
        self._method = method
        self._teacher = teacher
        self._caps: Mapping[str, int] = label_counts(label_shares or {}, num_examples)
        if options.label_share is not None:
            most = max(1, round(options.label_share * num_examples))
            self._caps = {label: min(most, self._caps.get(label, most)) for label in task.labels}
        self._labels: dict[str, int] = {}
        self._sure: dict[str, list[float]] = {}
        near = options.near_duplicates
        form = frozenset[str]().union(*(shared_shingles(e[name] for e in task.examples) for name in task.inputs))
        self._seen = None if near is None else NearDuplicates(near=near, seed=seed, form=form)
        self._shots: list[int] = []  # numbers of the examples that repeat none before them
        if self._seen is not None and not repeats_inputs:
            for number, example in enumerate(task.examples, start=1):
                if self._seen.add(*(example[name] for name in task.inputs)) is None:
                    self._shots.append(number)
        self._held = NearDuplicates(seed=seed, form=form)
        self._held_texts = [text for text in self._guard.texts if self._held.add(text) is None]

    def decide(self, draft: Draft, completion: Completion, parsed: Parsed) -> Example | Dropped:
        """Return the answer as an Example, or why it is none."""
        task = self._task
        fields = dict(parsed.fields)
        if task.labels:
            fields[task.output] = settle_label(task, fields[task.output])
        refusal = self._refusal(fields, parsed.rationale, completion)
        if refusal is not None:
            return Dropped("checks", *refusal, row=draft.row, key=completion.key, text=completion.text)
        self._labels[fields[task.output]] = self._labels.get(fields[task.output], 0) + 1
        return Example(
            fields={name: fields[name] for name in task.fields},
            rationale=parsed.rationale,
            provenance=provenance(draft, completion, method=self._method, teacher=self._teacher),
            sources=source_references(draft),
            passages=draft.passages,
        )

    def _refusal(self, fields: dict[str, str], rationale: str | None, completion: Completion) -> Refusal | None:
        task = self._task
        for check in self._answer_checks:
            if (refusal := check.refuse(fields, rationale)) is not None:
                return refusal
        if (unsure := self._unsure(fields[task.output], completion.confidence)) is not None:
            return unsure
        if (shared := self._in_evaluation(fields)) is not None:
            return "in_evaluation_set", f"shares with the evaluation set: {shared}"
        if (full := self.label_full(fields[task.output])) is not None:
            return full
        if self._seen is None:
            return None
        told = [rationale or ""] if self._repeats else []
        found = self._seen.add(*(fields[name] for name in task.inputs), *told)
        if found is None:
            return None
        number, similarity = found
        if number < len(self._shots):
            return "few_shot_copy", f"repeats example {self._shots[number]} of the task (similarity {similarity:.2f})"
        return "duplicate_output", f"repeats an accepted example (similarity {similarity:.2f})"

    def label_full(self, label: str | None) -> Refusal | None:
        """Return that a label has all the examples it may have, if so."""
        cap = self._caps.get(label or "")
        if cap is None or self._labels.get(label or "", 0) < cap:
            return None
        return "label_full", f"`{label}` already has its {cap} examples"

    def _unsure(self, output: str, confidence: float | None) -> Refusal | None:
        """Refuse an answer that the teacher is not sure enough of, where it says how sure it is."""
        if confidence is None:
            return None
        least = self._options.min_confidence or 0.0
        if (share := self._options.confident_share) is not None:
            sure = self._sure.setdefault(output if self._task.labels else "", [])
            insort(sure, confidence)
            least = max(least, sure[len(sure) - max(1, ceil(share * len(sure)))])
        if confidence < least:
            return "low_confidence", f"the teacher is {confidence:.3f} sure, less than {least:.3f}"
        return None

    def _in_evaluation(self, fields: dict[str, str]) -> str | None:
        if not self._guard:
            return None
        text = self._task.input_text(fields)
        if self._guard.equals(text):
            return text[:200]
        for part in dict.fromkeys(guarded_texts(self._task, fields)):
            if (shared := self._guard.overlap(part)) is not None:
                return shared
            if (found := self._held.find(part)) is not None:
                return self._held_texts[found[0]][:200]
        return None


def label_counts(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Return how many of `total` examples each label gets: its share; what rounding leaves, to the largest rests."""
    counts = {label: int(share * total + 1e-9) for label, share in shares.items()}
    rests = sorted(shares, key=lambda label: counts[label] - shares[label] * total)
    for label in rests[: total - sum(counts.values())] if counts else ():
        counts[label] += 1
    return counts


def provenance(draft: Draft, completion: Completion, *, method: str, teacher: str) -> dict[str, object]:
    """Return an example's provenance: the row and the request that it was made from; nulls where no row was.

    A teacher may be called by the folder that its server was started on, and a local source's page may be a file:
    datasets are passed on, so of a path the last part is told.
    """
    row = draft.row
    source = row.source if row else None
    return {
        "dataset": source.dataset if source else None,
        "config": source.config if source else None,
        "split": source.split if source else None,
        "revision": source.revision if source else None,
        "row": source.row if source else None,
        "license": source.license if source else None,
        "url": public_name(source.url) if source and source.url else None,
        "score": round(row.score, 6) if row else None,
        "method": method,
        "teacher": public_name(teacher),
        "prompt_id": completion.key,
    }


def source_references(draft: Draft) -> tuple[dict[str, object], ...]:
    """Return every source row that went into an answer to `draft`, with its role."""
    references = [draft.row.source.reference("context")] if draft.row else []
    return (*references, *(source.reference(role) for role, source in draft.shots))
