"""The tasks that the tests of prompts and of parsing are about."""

from typing import Any

from rebase_hf.task import Task

CONTENT: dict[str, Any] = {
    "name": "triage",
    "instruction": "Decide which team handles the message.",
    "inputs": ["message"],
    "output": "team",
    "labels": {"billing": "a payment or refund", "delivery": "delivery"},
    "examples": [{"message": "I was charged twice.", "team": "billing"}],
}
TRIAGE = Task.load(CONTENT)
REASONING = Task.load(CONTENT | {"examples": [CONTENT["examples"][0] | {"rationale": "Charges are payments."}]})
COPY = Task.load({"name": "copy", "instruction": "Copy.", "examples": [{"input": "a", "output": "a"}]})
