"""KARD (arXiv 2305.18395): examples from which a student learns to reason with a passage at hand.

1. Take labelled questions: the task's `train` rows, else its examples. What overlaps the evaluation set is left out.
2. Rationales: the teacher explains the gold answer of each question `rationales` times (10: generate_explanations.py,
   line 87), shown up to 5 explained examples of the task (5-shot there), where it has any. All questions come once
   before one comes twice, so that however few examples are wanted, they are about as many questions as possible.
3. Reading: somebody reads question and rationale, without the answer, and must come to it; else the rationale is
   dropped (verify_cot.py, where flan-t5-large ranks the option letters; here the teacher, asked anew, or any model).
4. Passages: the index is searched by words with the rationale and its answer as the query, not with the question
   (preprocess_cot_grounded.py:67), and the best `passages` rows are taken (1, as there for MedQA and StrategyQA).
5. An example is question + passages -> rationale + answer. `grounded_text` writes both, at training and inference.

Without `knowledge` step 4 is left out: reasoning distillation, the baseline. What is asked otherwise than by the
official code: the reading has no letters to rank, so that it works for any task; the answer's text goes into the
query without the word "Answer:"; rows that hold the question itself, or an evaluation row, are no passages.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rebase_hf.errors import TaskError
from rebase_hf.methods.grounded_text import MARKER, grounded_input, passage_text
from rebase_hf.methods.method import Ground, Method, require_range
from rebase_hf.methods.passages import passages_for
from rebase_hf.methods.same_answer import same_answer
from rebase_hf.quality.checks import Refusal
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.questions import Answered, Dialogue, Talk, ask_until_read
from rebase_hf.rows import Draft, Dropped, Role, Sampling, SourceRow
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Parsed
from rebase_hf.teacher.rationale_prompts import (
    RATIONALE_KEYS,
    RATIONALE_SCHEMA,
    output_keys,
    output_schema,
    parse_output,
    parse_rationale,
    rationale_messages,
    reading_messages,
    without_answer,
)

NAME = "kard"
PAPER = "https://arxiv.org/abs/2305.18395"
MAX_TOKENS = 1000
# A reading is a judgement, not a draw.
READING = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)


class Reader(Protocol):
    """A model in this process that reads rationales, in the teacher's place. It answers while nothing else does.

    Attributes:
        name: What a run knows it by: another name is another run.
    """

    name: str

    def __call__(self, texts: Sequence[str]) -> Sequence[str]:
        """Return the answer that follows on each text: a question and a rationale, up to the word `Answer:`."""


@dataclass(frozen=True, slots=True)
class KARDOptions:
    """How rationales and passages are made.

    Attributes:
        rationales: Draws for each question.
        passages: Passages of each example.
        verify: Who reads a rationale: `teacher`; `none`, which keeps all; or, in code, a `Reader`.
        knowledge: Retrieve passages; without, it is reasoning distillation.
        shots: Explained examples of the task in a prompt, at most; a question is not shown its own.
        temperature: Of the rationales. 0.7 is ours: draws must differ; what the paper used is not known.
    """

    rationales: int = 10
    passages: int = 1
    verify: str | Reader = "teacher"
    knowledge: bool = True
    shots: int = 5
    temperature: float = 0.7


def check(task: Task, options: KARDOptions) -> None:
    """Raise TaskError where an option is wrong."""
    for name, low, high in (("rationales", 1, 1000), ("passages", 1, 100), ("shots", 0, 50)):
        if not isinstance(value := getattr(options, name), int):
            raise TaskError(f"Option `{name}` is {value!r}; expected a whole number.")
        require_range(name, value, low, high)
    require_range("temperature", options.temperature, 0.0, 2.0)
    if options.rationales > 1 and options.temperature == 0.0:
        raise TaskError(
            f"Option `temperature` is 0, so the {options.rationales} rationales of a question would all be the same. "
            "Give a temperature, or `rationales` 1."
        )
    named = isinstance(options.verify, str)
    if (named and options.verify not in ("teacher", "none")) or not (named or hasattr(options.verify, "name")):
        raise TaskError(
            f"Option `verify` is {options.verify!r}; expected `teacher`, `none`, or in code a function of texts that "
            "has a `name`."
        )


def drafts(ground: Ground, prepared: None = None) -> Iterator[Draft | Dropped]:
    """Yield what to ask about each question, all of them once before any twice; and those that are left out."""
    task, options = ground.task, ground.options
    if options.knowledge:
        ground.rows.search(task.instruction, k=1, mode="lexical")  # an index without words shows before it is paid
    kept: list[dict[str, str]] = []
    given = [{name: example[name] for name in task.fields} for example in task.examples]
    for fields in task.train_rows() or given:
        if (refusal := _refusal(task, ground.guard, fields)) is not None:
            yield Dropped("retrieval", *refusal)
            continue
        kept.append(fields)
        yield _draft(ground, fields, sample=0)
    for sample in range(1, options.rationales):
        for fields in kept:
            yield _draft(ground, fields, sample=sample)


def dialogue(ground: Ground, draft: Draft) -> Dialogue:
    """Ask for a rationale, have it read, and look for its passages."""
    found = yield from ask_until_read(draft, parse_rationale, RATIONALE_KEYS)
    if isinstance(found, Dropped):
        return (found,)
    rationale, gold = found.value, draft.fields[ground.task.output]
    read = yield from _read(ground, draft.fields, rationale)
    if isinstance(read, Dropped):
        return (read,)
    if read is not None and not same_answer(ground.task, read, gold):
        detail = f"it leads to `{read[:200]}`, not to `{gold[:200]}`"
        key, text = found.completion.key, found.completion.text
        return (Dropped("checks", "rationale_not_verified", detail, key=key, text=text),)
    grounded = _with_passages(ground, found.draft, f"{rationale} {gold}")
    return (Answered(grounded, found.completion, Parsed(dict(draft.fields), rationale)),)


def _read(ground: Ground, fields: Mapping[str, str], rationale: str) -> Talk[str | Dropped | None]:
    """Return the answer that a rationale leads to; None where nobody is to read it."""
    task, reader = ground.task, ground.options.verify
    if reader == "none":
        return None
    if not isinstance(reader, str):
        text = f"{grounded_input(task, fields, ())} {without_answer(rationale)}\n{MARKER}"
        return str(reader([text])[0])
    draft = Draft(reading_messages(task, fields, rationale), output_schema(task), sampling=READING)
    found = yield from ask_until_read(draft, lambda said: parse_output(task, said), output_keys(task))
    return found if isinstance(found, Dropped) else found.value


def _with_passages(ground: Ground, draft: Draft, query: str) -> Draft:
    if draft.passages is not None:  # none are wanted
        return draft
    question = max((draft.fields[name] for name in ground.task.inputs), key=len)
    found = passages_for(ground.rows, [query], ground.options.passages, ground.guard, own=[question])[0]
    rows: list[tuple[Role, SourceRow]] = [("passage", row.source) for row in found]
    return replace(draft, passages=tuple(passage_text(row) for _, row in rows), shots=(*draft.shots, *rows))


def _draft(ground: Ground, fields: Mapping[str, str], *, sample: int) -> Draft:
    task, options = ground.task, ground.options
    explained = [e for e in task.examples if "rationale" in e and task.input_text(e) != task.input_text(fields)]
    return Draft(
        rationale_messages(task, fields, shots=explained[: options.shots]),
        RATIONALE_SCHEMA,
        sample=sample,
        sampling=Sampling(temperature=options.temperature, max_tokens=MAX_TOKENS),
        passages=None if options.knowledge else (),
        fields=fields,
    )


def _refusal(task: Task, guard: EvaluationGuard, fields: Mapping[str, str]) -> Refusal | None:
    """Return why a question is not asked about; the gate would refuse its examples once they are paid for."""
    if blank := [name for name in task.fields if not fields[name].strip()]:
        return "empty_field", f"{', '.join(blank)} is blank"
    text = task.input_text(fields)
    parts = [text, *(fields[name] for name in task.inputs)]
    if task.kind == "generation":
        parts.append(fields[task.output])
    if guard.equals(text):
        return "in_evaluation_set", f"the question is an evaluation question: {text[:200]}"
    shared = next((found for part in dict.fromkeys(parts) if (found := guard.overlap(part)) is not None), None)
    return None if shared is None else ("in_evaluation_set", f"the question shares with an evaluation text: {shared}")


METHOD = Method(
    NAME,
    KARDOptions,
    drafts,
    PAPER,
    dialogue=dialogue,
    check=check,
    gives_passages=True,
    gives_rationales=True,
    repeats_inputs=True,
    questions_each=lambda options: 2 if options.verify == "teacher" else 1,
)
