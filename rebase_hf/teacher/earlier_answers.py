"""What a model's earlier answers in the journal tell of those to come: how many tokens prompts and answers take."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.one_request import prompt_chars

# The newest of them: enough for a mean, and read at once however long the journal is.
NEWEST = 200


@dataclass(frozen=True, slots=True)
class EarlierAnswers:
    """Sums over a model's newest journalled answers.

    Attributes:
        prompt_chars: Characters of their prompts, which took `prompt_tokens`.
        alike: How many of them have the same JSON schema, and so the form of the answers to come.
        completion_tokens: What those alike took.
    """

    prompt_chars: int = 0
    prompt_tokens: int = 0
    alike: int = 0
    completion_tokens: int = 0


def earlier_answers(journal: Journal, model: str, schema: Mapping[str, Any] | None) -> EarlierAnswers:
    """Return what a model's newest answers took.

    Args:
        schema: The schema of the answers to come.

    Raises:
        JournalError: The journal can't be read.
    """
    form = json.loads(json.dumps(schema, default=dict))
    chars = prompts = alike = completions = 0
    for content, prompt_tokens, completion_tokens in journal.newest(model, NEWEST):
        chars += prompt_chars(content)
        prompts += prompt_tokens
        if content["schema"] == form:
            alike += 1
            completions += completion_tokens
    return EarlierAnswers(chars, prompts, alike, completions)
