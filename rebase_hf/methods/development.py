"""What the teacher makes of a development split of a task's questions, with passages and without."""

from collections.abc import Callable, Sequence

from rebase_hf.methods.adaptive import AdaptiveDecision, choose_popularity_threshold, choose_threshold
from rebase_hf.methods.excluded import own_family
from rebase_hf.methods.grounded_text import passage_text
from rebase_hf.methods.labelled_questions import Fields, longest_input
from rebase_hf.methods.method import Ground
from rebase_hf.methods.passages import nearness, passages_for
from rebase_hf.methods.popularity import question_popularity
from rebase_hf.quality.answers import same_answer
from rebase_hf.questions import Talk
from rebase_hf.rows import Draft, Sampling
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import Unreadable
from rebase_hf.teacher.rationale_prompts import output_schema, parse_output, question_messages


def found_by_question(ground: Ground, questions: Sequence[Fields]) -> list[tuple[float, tuple[str, ...]]]:
    """Return for each question how near the nearest passage comes to it, and the passages: found as at inference."""
    task = ground.task
    queries = [task.input_text(fields) for fields in questions]
    own = [longest_input(task, fields) for fields in questions]
    family = family_of(ground)
    found = passages_for(ground.rows, queries, ground.options.passages, ground.guard, own=own, family=family)
    return [(nearness(rows), tuple(passage_text(row.source) for row in rows)) for rows in found]


def measure(ground: Ground) -> Callable[[Fields], float]:
    """Return what gives the number that decides on a question: its popularity, or how near the nearest passage is."""
    task, column = ground.task, ground.options.popularity_column
    if column is None:
        return lambda fields: found_by_question(ground, [fields])[0][0]
    known = question_popularity(task, column)
    return lambda fields: known[task.input_text(fields)]


def family_of(ground: Ground) -> frozenset[int]:
    """Return the sources that no passage is taken from: those that may hold the task's own data."""
    return own_family(ground.task, ground.rows) if ground.options.exclude_family else frozenset()


def ask_with_and_without(ground: Ground, questions: Sequence[Fields], sampling: Sampling) -> Talk[AdaptiveDecision]:
    """Ask all questions blind, and with their passages where there are any, at once; choose a threshold.

    An answer that can't be had or read is no right one. Equal prompts are never asked twice.
    """
    task, schema = ground.task, output_schema(ground.task)
    found = found_by_question(ground, questions)
    blind = [Draft(question_messages(task, fields), schema, sampling=sampling, optional=True) for fields in questions]
    grounded = [
        Draft(question_messages(task, fields, passages), schema, sampling=sampling, optional=True)
        for fields, (_, passages) in zip(questions, found, strict=True)
        if passages
    ]
    answers = yield (*blind, *grounded)
    said = [parse_output(task, answer.text) for answer in answers]
    helped = iter(said[len(questions) :])
    without, with_passages = [], []
    for fields, (_, passages), answer in zip(questions, found, said, strict=False):
        without.append(_right(task, fields, answer))
        with_passages.append(_right(task, fields, next(helped)) if passages else without[-1])
    if ground.options.popularity_column is None:
        return choose_threshold([near for near, _ in found], with_passages, without, seed=ground.seed)
    popularity = [*map(measure(ground), questions)]
    return choose_popularity_threshold(popularity, with_passages, without, seed=ground.seed)


def _right(task: Task, fields: Fields, said: str | Unreadable) -> bool:
    return not isinstance(said, Unreadable) and same_answer(task, said, fields[task.output])
