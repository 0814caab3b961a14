"""SynthesizRR (arXiv 2405.10040): a text for a label, rewritten from a document that was retrieved for a seed.

1. Seeds: labelled texts, as many of each label (50; 100 where there are two labels: common.py:547-558), none twice:
   the task's `train` rows, else its examples, or texts that the teacher writes first.
2. Content sourcing: the seed's text is the query; the documents at ranks 1 to 50 are used (driver.py:104), found by
   meaning, by words, or drawn at random.
3. Context conditioning: documents of fewer than 20 tokens are left out, longer ones than 400 cut at a sentence's end
   (common.py:1450-1458).
4. Only documents whose similarity to the seed is 0.4 to 0.9 are used (driver.py:109): above it is the same text,
   below another subject. Here it is the cosine of the seed with the row's best cell, whichever way the row was found;
   the official code takes BM25's own score for one and drops nearly every document. Rows drawn at random have no
   such range: being about something else is their point.
5. In-context examples: `retrieved` (RetrICL) shows 3 pairs of a document and the seed it was found for, of seeds with
   the same label, from ranks 1 and 2 at a similarity of 0.5 to 0.9; these ranks are then not written from. `seed`
   (Non-RetrICL) shows 32 seeds alone. `none` is zero-shot. Shots are drawn anew for every prompt, at random.
6. Task inversion: document and label phrase go into one prompt, which asks for a text of that label (`write.jinja`).
7. Sampling: top-p 0.9, temperature 0.95 (common.py:78-79). An answer may hold several examples; each is one output.
8. Labels come in the target distribution, balanced unless another is asked for. The official code takes the train
   set's, a statistic that a user may not have; the evaluation set's is never looked at.

Refusals, copies and duplicates are the checks' (`quality/`), the cartography filter a whole-set check.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from typing import Any

from rebase_hf.errors import TeacherError
from rebase_hf.methods.excluded import held_vectors, own_family
from rebase_hf.methods.labelled_questions import question_refusal
from rebase_hf.methods.method import Ground, Method, Preparation
from rebase_hf.methods.seed_documents import SeedDocuments, Sourced
from rebase_hf.methods.seeds import Seed, by_label, in_shares, own_seeds, target_shares
from rebase_hf.methods.synthesizrr_options import SynthesizRROptions, check
from rebase_hf.methods.writing import SAMPLING, sampling_for, typical_words, written
from rebase_hf.questions import Answered, Dialogue, together
from rebase_hf.rows import Draft, Dropped, Role, SourceRow
from rebase_hf.task import Task
from rebase_hf.teacher.writing_prompts import Shot, write_messages, write_schema

logger = logging.getLogger(__name__)

NAME = "synthesizrr"
PAPER = "https://arxiv.org/abs/2405.10040"
RETRIEVED_SHOTS = 3
SEED_SHOTS = 32


def seeds_per_label(task: Task, options: SynthesizRROptions) -> int:
    """Return how many seeds of each label are drawn at most."""
    return options.seeds_per_label or (100 if len(task.labels) == 2 else 50)


def prepare(ground: Ground) -> Preparation:
    """Have the teacher write seeds, where that is asked for: as `fewgen` would, with the task's examples as shots."""
    task, options = ground.task, ground.options
    if options.seeds != "generated":
        return None
    asked: list[Dialogue] = []
    examples = by_label(task, own_seeds(task, "examples"), 32, ground.seed)
    for label in task.labels:
        shots = [Shot(one.fields) for one in examples.get(label, [])]
        words = typical_words(task, [one.fields for held in examples.values() for one in held])
        messages = write_messages(task, label=label, shots=shots, words=words)
        for sample in range(seeds_per_label(task, options)):
            given = {task.output: label}
            schema = write_schema(task, label)
            draft = Draft(messages, schema, sample=sample, sampling=SAMPLING, fields=given, optional=True)
            asked.append(written(task, draft, 1))
    found = yield from together(asked)
    texts = [one.parsed.fields for outcomes in found for one in outcomes if isinstance(one, Answered)]
    made = [Seed({name: fields[name] for name in task.fields}, None) for fields in texts]
    if not made:
        raise TeacherError(
            f"The teacher wrote no usable seed for task `{task.name}`. Use the task's examples (seeds=examples), or "
            "another teacher."
        )
    return made


def drafts(ground: Ground, prepared: Sequence[Seed] | None) -> Iterator[Draft | Dropped]:
    """Yield what to write: in the target distribution of labels, the first rank of every seed before the second."""
    task, options = ground.task, ground.options
    which = "auto" if options.seeds == "generated" else options.seeds
    usable: list[Seed] = []
    for one in prepared or own_seeds(task, which):
        # The user's examples are shown to every teacher; rows drawn from elsewhere may be evaluation rows.
        own = one.source is not None and one.source.split == "examples"
        if own or (refusal := question_refusal(task, ground.guard, one.fields)) is None:
            usable.append(one)
        else:
            yield Dropped("retrieval", *refusal)
    seeds = by_label(task, usable, seeds_per_label(task, options), ground.seed)
    if without := [label for label in task.labels if label not in seeds]:
        logger.warning(
            "No seed has the label %s: nothing is written for it. Add an example or a train row with it.",
            ", ".join(f"`{label}`" for label in without),
        )
    shares = target_shares(task, options.labels)
    family = own_family(task, ground.rows) if options.exclude_family else frozenset[int]()
    guarded = held_vectors(ground.rows, ground.guard)
    documents = {
        label: SeedDocuments(ground, some, family, guarded) for label, some in seeds.items() if shares[label] > 0
    }
    words = typical_words(task, [one.fields for some in seeds.values() for one in some])
    waiting = {label: found.candidates() for label, found in documents.items()}
    for label in in_shares(shares, {label: len(found) for label, found in documents.items()}):
        for found in waiting[label]:
            if isinstance(found, Dropped):
                yield found
                continue
            yield _draft(ground, label, found, documents[label], words)
            break


def _draft(ground: Ground, label: str, found: Sourced, documents: SeedDocuments, words: int | None) -> Draft:
    task, options = ground.task, ground.options
    shots, sources = _shots(ground, found, documents)
    messages = write_messages(
        task, label=label, document=found.document, shots=shots, count=options.outputs, words=words
    )
    own: tuple[tuple[Role, SourceRow], ...] = () if found.seed.source is None else (("seed", found.seed.source),)
    return Draft(
        messages,
        write_schema(task, label, options.outputs),
        row=found.row,
        shots=own + sources,
        sampling=sampling_for(options.outputs),
        fields={task.output: label},
    )


def _shots(
    ground: Ground, found: Sourced, documents: SeedDocuments
) -> tuple[list[Shot], tuple[tuple[Role, SourceRow], ...]]:
    """Return the in-context examples of one prompt, all of the same label, and the rows that stand in them."""
    options = ground.options
    chance = random.Random(  # noqa: S311 - not for secrets
        f"shots {ground.seed} {found.row.key} {ground.task.input_text(found.seed.fields)}"
    )
    if options.shot_kind == "retrieved":
        pairs = chance.sample(documents.pairs, min(options.shots or RETRIEVED_SHOTS, len(documents.pairs)))
        shots = [Shot(pair.seed.fields, pair.document) for pair in pairs]
        rows = [source for pair in pairs for source in (pair.row.source, pair.seed.source)]
    elif options.shot_kind == "seed":
        seeds = chance.sample(documents.seeds, min(options.shots or SEED_SHOTS, len(documents.seeds)))
        shots = [Shot(seed.fields) for seed in seeds]
        rows = [seed.source for seed in seeds]
    else:
        return [], ()
    return shots, tuple(("shot", row) for row in rows if row is not None)


def dialogue(ground: Ground, draft: Draft) -> Dialogue:
    """Ask for the examples of one draft."""
    return written(ground.task, draft, ground.options.outputs)


def told(ground: Ground, prepared: Sequence[Seed] | None) -> dict[str, Any]:
    """Return what a report says of the seeds that the teacher wrote."""
    return {"seeds": [dict(seed.fields) for seed in prepared]} if prepared else {}


def label_shares(task: Task, options: SynthesizRROptions) -> dict[str, float] | None:
    """Return the share of each label; None where more of one label may stand for too few of another."""
    return target_shares(task, options.labels) if task.labels and options.exact_labels else None


METHOD = Method(
    NAME,
    SynthesizRROptions,
    drafts,
    PAPER,
    dialogue=dialogue,
    prepare=prepare,
    check=check,
    report=told,
    label_shares=label_shares,
    outputs_each=lambda options: int(options.outputs),
)
