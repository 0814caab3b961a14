"""The question that has the teacher solve an example blind: its inputs, without the output that was written for it.

What is asked about was made from rows and by models, so it stands in the prompt as rows do: as data, without power.
"""

from collections.abc import Mapping
from typing import Any

from rebase_hf.rows import Draft, Sampling
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import answer_keys, answer_schema, example_lines, render, row_json

# As ReBase asks for examples: several draws are to differ where the teacher is not sure.
SAMPLING = Sampling(temperature=0.7, max_tokens=1000)


def blind_keys(task: Task) -> tuple[str, ...]:
    """Return the keys of a blind answer: the rationale where the task reasons, and the output."""
    return tuple(key for key in answer_keys(task) if key not in task.inputs)


def blind_schema(task: Task) -> dict[str, Any]:
    """Return the JSON schema of a blind answer; one per task."""
    whole, keys = answer_schema(task), blind_keys(task)
    return whole | {"properties": {key: whole["properties"][key] for key in keys}, "required": list(keys)}


def blind_draft(task: Task, fields: Mapping[str, str], *, sample: int = 0) -> Draft:
    """Return the draft that asks for the output of an example.

    Args:
        fields: The example's fields, of which the inputs alone are shown.
        sample: Which of several draws of the same question it is.
    """
    messages = render(
        "answer.jinja",
        task=task,
        examples=example_lines(task),
        given=row_json({name: fields[name] for name in task.inputs}),
        keys=blind_keys(task),
    )
    return Draft(messages, blind_schema(task), sample=sample, sampling=SAMPLING, optional=True)
