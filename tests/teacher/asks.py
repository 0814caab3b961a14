"""What the tests of the teacher ask, and how."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rebase_hf.rows import Completion, Draft, Message, Sampling
from rebase_hf.task import Task
from rebase_hf.teacher.asking import Asker, BudgetReached, Unanswered, open_teacher
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.target import Teacher

SCHEMA = {
    "type": "object",
    "properties": {"message": {"type": "string"}, "team": {"type": "string", "enum": ["billing", "travel"]}},
    "required": ["message", "team"],
    "additionalProperties": False,
}
TASK = Task.load(
    {
        "name": "triage",
        "instruction": "Which team should handle it?",
        "inputs": ["message"],
        "output": "team",
        "labels": {"billing": "a payment", "travel": "a journey"},
        "examples": [{"message": "I was charged twice.", "team": "billing"}],
    }
)


def draft(number: int = 0, *, text: str | None = None, schema: Any = SCHEMA, **settings: Any) -> Draft:
    content = text if text is not None else f"message: parcel number {number} has not come"
    settings.setdefault("sampling", Sampling(max_tokens=200))
    return Draft(messages=(Message("system", "You sort mail."), Message("user", content)), schema=schema, **settings)


Outcome = Completion | Unanswered


async def ask_all(asker: Asker, drafts: Iterable[Draft]) -> list[Outcome]:
    """Ask as the pipeline does: at most `concurrency` at once."""
    waiting = list(drafts)
    outcomes: dict[int, Outcome] = {}
    running: dict[asyncio.Task[Completion], int] = {}
    position = 0
    try:
        while position < len(waiting) or running:
            while position < len(waiting) and len(running) < asker.concurrency:
                running[asyncio.create_task(asker.ask(waiting[position]))] = position
                position += 1
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = running.pop(task)
                try:
                    outcomes[number] = task.result()
                except Unanswered as error:
                    outcomes[number] = error
    except BudgetReached:
        await asyncio.gather(*running, return_exceptions=True)  # what is paid for is waited for
        raise
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return [outcomes[number] for number in range(len(waiting))]


def ask(
    teacher: Teacher | str, drafts: Iterable[Draft], journal: Path, **settings: Any
) -> tuple[list[Outcome], Asker]:
    """Open, ask, close; return the outcomes and the asker, for its counts."""

    async def run() -> tuple[list[Outcome], Asker]:
        kept = Journal.open(journal)
        asker = await open_teacher(teacher, TASK, kept, **settings)
        try:
            return await ask_all(asker, drafts), asker
        finally:
            await asker.close()
            kept.close()

    return asyncio.run(run())
