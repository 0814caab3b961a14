"""What methods share that have texts written: the sampling, the length to ask for, and how answers are read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from rebase_hf.questions import Answered, Dialogue, Outcome, ask_until_read
from rebase_hf.rows import Draft, Dropped, Sampling
from rebase_hf.task import Task
from rebase_hf.teacher.cut_answers import describe_cut, is_cut
from rebase_hf.teacher.faults import TRUNCATED_ANSWER
from rebase_hf.teacher.prompts import Parsed, Unreadable, parse_object, parse_objects
from rebase_hf.teacher.writing_prompts import written_keys

# SynthesizRR's code, for its own texts and for the baseline alike (common.py:78-79).
SAMPLING = Sampling(temperature=0.95, top_p=0.9, max_tokens=1000)
MOST_TOKENS = 8000


def sampling_for(count: int) -> Sampling:
    """Return the sampling of a draft that asks for `count` examples: several take a longer answer."""
    return replace(SAMPLING, max_tokens=min(MOST_TOKENS, (SAMPLING.max_tokens or 0) + 600 * (count - 1)))


def typical_words(task: Task, examples: Sequence[Mapping[str, str]]) -> int | None:
    """Return about how many words an example's inputs have in all, to a round number; None for less than five.

    The paper says how long a text is to be for each of its tasks by hand; here the task's own examples say it.
    """
    counts = [sum(len(example[name].split()) for name in task.inputs) for example in examples]
    middle = median(counts) if counts else 0
    return None if middle < 5 else int(5 * round(middle / 5))


def written(task: Task, draft: Draft, count: int) -> Dialogue:
    """Ask for `count` examples in one answer, and return each as an output of its own, its given fields added.

    Of an answer that was cut those before the cut are returned, and the one that it fell into as dropped.
    """
    label = draft.fields.get(task.output)
    keys = written_keys(task, label)

    def read(text: str) -> list[dict[str, str]] | Unreadable:
        if count > 1:
            return parse_objects(text, keys)
        found = parse_object(text, keys)
        return found if isinstance(found, Unreadable) else [found]

    found = yield from ask_until_read(draft, read, keys if count == 1 else ("examples",))
    if isinstance(found, Dropped):
        return (found,)
    outputs: list[Outcome] = []
    for texts in found.value[:count]:
        rationale = texts.pop("rationale", None)
        outputs.append(Answered(found.draft, found.completion, Parsed({**texts, **draft.fields}, rationale)))
    said = found.completion
    if len(outputs) < count and is_cut(said.text, said.finish_reason, found.draft.schema):
        detail = describe_cut(said.text, said.completion_tokens)
        outputs.append(Dropped("checks", TRUNCATED_ANSWER.reason, detail, draft.row, said.key, said.text))
    return tuple(outputs)
