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

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rebase_hf.methods.adaptive import AdaptiveDecision
from rebase_hf.methods.consulting import advice_on
from rebase_hf.methods.development import ask_with_and_without, family_of, measure
from rebase_hf.methods.grounded_text import MARKER, grounded_input, passage_text
from rebase_hf.methods.kard_options import KARDOptions, check
from rebase_hf.methods.labelled_questions import (
    Fields,
    development_questions,
    labelled_questions,
    longest_input,
    question_refusal,
)
from rebase_hf.methods.method import Ground, Method
from rebase_hf.methods.passages import passages_for
from rebase_hf.methods.seeds import example_seeds, own_seeds
from rebase_hf.quality.answers import same_answer
from rebase_hf.questions import Answered, Dialogue, Talk, ask_until_read
from rebase_hf.rows import Draft, Dropped, Role, Sampling, SourceRow
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


def prepare(ground: Ground) -> Talk[AdaptiveDecision | None]:
    """Ask the development split's questions with and without passages; None where that is not asked for."""
    held = _development(ground)
    return (yield from ask_with_and_without(ground, held, READING)) if held else None


def told(ground: Ground, decision: AdaptiveDecision | None) -> dict[str, Any]:
    """Return what a report says of the decision; None for one that the journal does not tell any more."""
    return {"adaptive": decision and decision.to_dict()} if ground.options.adaptive else {}


def drafts(ground: Ground, decision: AdaptiveDecision | None = None) -> Iterator[Draft | Dropped]:
    """Yield what to ask about each question, all of them once before any twice; and those that are left out.

    Args:
        decision: For which questions passages are of use; None for all.
    """
    task, options = ground.task, ground.options
    if options.knowledge:
        ground.rows.search(task.instruction, k=1, mode="lexical")  # an index without words shows before it is paid
    held = {task.input_text(fields) for fields in _development(ground)}
    number = measure(ground)
    kept: list[tuple[Fields, SourceRow | None, bool]] = []
    for fields, own in zip(labelled_questions(task), own_seeds(task, "auto"), strict=True):
        if (refusal := question_refusal(task, ground.guard, fields)) is not None:
            yield Dropped("retrieval", *refusal)
        elif task.input_text(fields) in held:
            detail = f"it is of the split that `adaptive` decides on: {task.input_text(fields)[:200]}"
            yield Dropped("retrieval", "development_question", detail)
        else:
            helped = decision is None or decision.uses_context(number(fields))
            kept.append((fields, own.source, options.knowledge and helped))
            yield _draft(ground, *kept[-1], sample=0)
    for sample in range(1, options.rationales):
        for question in kept:
            yield _draft(ground, *question, sample=sample)


def _development(ground: Ground) -> list[Fields]:
    task, options = ground.task, ground.options
    if not options.adaptive:
        return []
    usable = [fields for fields in labelled_questions(task) if question_refusal(task, ground.guard, fields) is None]
    return development_questions(task, usable, options.development, ground.seed)


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


def _read(ground: Ground, fields: Fields, rationale: str) -> Talk[str | Dropped | None]:
    """Return the answer that a rationale leads to; None where nobody is to read it."""
    task, reader = ground.task, ground.options.verify
    if reader == "none":
        return None
    if not isinstance(reader, str):
        text = f"{grounded_input(task, fields, ())} {without_answer(rationale)}\n{MARKER}"
        return str(reader([text])[0])
    advice = advice_on(task, ground.consult, {name: fields[name] for name in task.inputs})
    messages = reading_messages(task, fields, rationale, advice=advice)
    draft = Draft(messages, output_schema(task), sampling=READING)
    found = yield from ask_until_read(draft, lambda said: parse_output(task, said), output_keys(task))
    return found if isinstance(found, Dropped) else found.value


def _with_passages(ground: Ground, draft: Draft, query: str) -> Draft:
    if draft.passages is not None:  # none are wanted
        return draft
    own = [longest_input(ground.task, draft.fields)]
    family = family_of(ground)
    found = passages_for(ground.rows, [query], ground.options.passages, ground.guard, own=own, family=family)[0]
    rows: list[tuple[Role, SourceRow]] = [("passage", row.source) for row in found]
    return replace(draft, passages=tuple(passage_text(row) for _, row in rows), shots=(*draft.shots, *rows))


def _draft(ground: Ground, fields: Fields, own: SourceRow | None, helped: bool, *, sample: int) -> Draft:
    task, options = ground.task, ground.options
    asked = task.input_text(fields)
    explained = [e for e in example_seeds(task) if "rationale" in e.fields and task.input_text(e.fields) != asked]
    shown = explained[: options.shots]
    rows: list[tuple[Role, SourceRow | None]] = [("seed", own), *(("shot", one.source) for one in shown)]
    return Draft(
        rationale_messages(task, fields, shots=[one.fields for one in shown]),
        RATIONALE_SCHEMA,
        shots=tuple((role, row) for role, row in rows if row is not None),
        sample=sample,
        sampling=Sampling(temperature=options.temperature, max_tokens=MAX_TOKENS),
        passages=None if helped else (),
        fields=fields,
    )


METHOD = Method(
    NAME,
    KARDOptions,
    drafts,
    PAPER,
    dialogue=dialogue,
    prepare=prepare,
    report=told,
    check=check,
    asks_about="questions",
    needs_index=lambda options: bool(options.knowledge),
    gives_passages=True,
    gives_rationales=True,
    repeats_inputs=True,
    consults=lambda options: options.verify == "teacher",
    questions_each=lambda options: 2 if options.verify == "teacher" else 1,
)
