"""FewGen: examples written by the teacher with nothing retrieved, the baseline that retrieval has to beat.

1. Take the labels in the target distribution (balanced unless another is asked for); a task without labels has none.
2. For each example to be written draw up to `shots` of the task's own examples with that label, at random and without
   replacement: none is zero-shot, 32 is SynthesizRR's baseline (arXiv 2405.10040, section 5).
3. With `attributes` (AttrPrompt, arXiv 2306.15895) every example is also to have a random combination of values, one
   of each dimension. The dimensions are the task file's (`attributes: task`), or the teacher proposes them once for
   the task (`attributes: teacher`).
4. Ask for the inputs, the label being given; of a task without labels, for the output too.

Sampling as in SynthesizRR's code: top-p 0.9, temperature 0.95 (common.py:78-79).
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rebase_hf.errors import TaskError, TeacherError
from rebase_hf.methods.method import Ground, Method, Preparation, refuse_idle, require_range
from rebase_hf.methods.seeds import Seed, by_label, in_shares, own_seeds, target_shares
from rebase_hf.methods.writing import SAMPLING, sampling_for, typical_words, written
from rebase_hf.questions import Dialogue, ask_until_read
from rebase_hf.rows import Draft, Dropped, Role, SourceRow
from rebase_hf.task import Task
from rebase_hf.teacher.writing_prompts import (
    Shot,
    attribute_messages,
    attribute_schema,
    drawn_attributes,
    parse_attributes,
    write_messages,
    write_schema,
)

NAME = "fewgen"


@dataclass(frozen=True, slots=True)
class FewGenOptions:
    """How examples are written.

    Attributes:
        shots: Examples of the task in a prompt, at most; 0 shows none.
        attributes: Whether examples are to have given properties: `none`, those of the `task` file, or those that the
            `teacher` proposes.
        dimensions: How many dimensions the teacher is to propose.
        values: How many values of each.
        outputs: Examples that one answer is to hold.
        labels: `label=share` texts; labels that are not named share the rest alike.
        exact_labels: Give fewer examples rather than more of one label for want of another.
        patience: Ask for at most so many times the examples wanted, in all.
    """

    shots: int = 32
    attributes: Literal["none", "task", "teacher"] = "none"
    dimensions: int = 5
    values: int = 10
    outputs: int = 1
    labels: tuple[str, ...] | None = None
    exact_labels: bool = True
    patience: int = 5


def check(task: Task, options: FewGenOptions) -> None:
    """Raise TaskError where the options do not fit the task."""
    require_range("shots", options.shots, 0, 50)
    require_range("dimensions", options.dimensions, 1, 12)
    require_range("values", options.values, 2, 40)
    require_range("outputs", options.outputs, 1, 20)
    require_range("patience", options.patience, 1, 1000)
    if options.attributes not in ("none", "task", "teacher"):
        raise TaskError(f"Option `attributes` is `{options.attributes}`; expected none, task or teacher.")
    if options.attributes == "task" and not task.attributes:
        raise TaskError(f"Task `{task.name}` has no `attributes`; name some in it, or use `attributes=teacher`.")
    if options.attributes != "teacher":
        refuse_idle(options, ("dimensions", "values"), "`attributes=teacher`, which has the teacher propose them")
    if not task.labels:
        refuse_idle(options, ("exact_labels",), "a task with `labels`")
    if options.labels and not task.labels:
        raise TaskError(f"Task `{task.name}` has no labels, so there are no shares of them. Leave `labels` out.")
    target_shares(task, options.labels)


def prepare(ground: Ground) -> Preparation:
    """Ask once what texts of the task differ in, where that is asked for."""
    options = ground.options
    if options.attributes != "teacher":
        return dict(ground.task.attributes) if options.attributes == "task" else {}
    messages = attribute_messages(ground.task, dimensions=options.dimensions, values=options.values)
    draft = Draft(messages, attribute_schema(), sampling=SAMPLING)
    found = yield from ask_until_read(draft, parse_attributes, ("dimensions",))
    if isinstance(found, Dropped):
        raise TeacherError(
            f"The teacher named no dimensions for task `{ground.task.name}` ({found.detail}). Name `attributes` in "
            "the task file, or ask another teacher."
        )
    return found.value


def drafts(ground: Ground, prepared: Mapping[str, tuple[str, ...]] | None) -> Iterator[Draft | Dropped]:
    """Yield what to ask for, in the target distribution of labels."""
    task, options = ground.task, ground.options
    seeds = own_seeds(task, "examples")
    chance = random.Random(f"fewgen {ground.seed}")  # noqa: S311 - not for secrets
    asked, sampling = Counter[Any](), sampling_for(options.outputs)
    held = by_label(task, seeds, len(seeds), ground.seed)
    for label in _labels(ground):
        shown = _drawn(seeds if label is None else held.get(label, []), options.shots, chance)
        messages = write_messages(
            task,
            label=label,
            shots=[Shot(one.fields) for one in shown],
            attributes=drawn_attributes(prepared or {}, chance),
            count=options.outputs,
            words=typical_words(task, [one.fields for one in seeds]),
        )
        sources: tuple[tuple[Role, SourceRow], ...] = tuple(("shot", one.source) for one in shown if one.source)
        given = {} if label is None else {task.output: label}
        schema = write_schema(task, label, options.outputs)
        # The same prompt again is another draw of it: the journal must tell them apart.
        yield Draft(messages, schema, shots=sources, sample=asked[messages], sampling=sampling, fields=given)
        asked[messages] += 1


def _labels(ground: Ground) -> Iterator[str | None]:
    task, most = ground.task, ground.num_examples * ground.options.patience
    if not task.labels:
        yield from (None for _ in range(most))
        return
    shares = target_shares(task, ground.options.labels)
    yield from in_shares(shares, {label: max(1, round(share * most)) for label, share in shares.items() if share})


def _drawn(seeds: list[Seed], count: int, chance: random.Random) -> list[Seed]:
    return chance.sample(seeds, min(count, len(seeds)))


def dialogue(ground: Ground, draft: Draft) -> Dialogue:
    """Ask for the examples of one draft."""
    return written(ground.task, draft, ground.options.outputs)


def told(ground: Ground, prepared: Mapping[str, tuple[str, ...]] | None) -> dict[str, Any]:
    """Return what a report says of the attributes that examples were to have."""
    return {"attributes": {name: list(values) for name, values in prepared.items()}} if prepared else {}


def label_shares(task: Task, options: FewGenOptions) -> dict[str, float] | None:
    """Return the share of each label; None where more of one label may stand for too few of another."""
    return target_shares(task, options.labels) if task.labels and options.exact_labels else None


METHOD = Method(
    NAME,
    FewGenOptions,
    drafts,
    dialogue=dialogue,
    prepare=prepare,
    check=check,
    report=told,
    asks_about="texts to write",
    needs_index=lambda options: False,
    label_shares=label_shares,
    outputs_each=lambda options: int(options.outputs),
)
