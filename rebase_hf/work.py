"""What a leader needs to lead a run, apart from what decides it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rebase_hf.methods.method import Preparation
from rebase_hf.quality.gate import Gate
from rebase_hf.questions import Dialogue
from rebase_hf.rows import Draft, Dropped
from rebase_hf.teacher.asking import Asker
from rebase_hf.teacher.journal import Journal
from rebase_hf.turn import Turn


@dataclass(frozen=True, slots=True)
class Work:
    """What a leader needs to lead, made when it starts: retrieval and the teacher may take a while to open.

    Attributes:
        drafts: What to ask about, in the order in which it is decided on; takes what `prepare` gave.
        dialogue: What is asked about a draft.
        prepare: What is asked once, before all drafts; None where nothing is.
        outputs_each: How many examples one draft is asked for.
        questions_each: How many questions a draft takes, when the answers can be read; `blind_each` are asked after
            them, about what came out.
        output: The task's output field.
        open_asker: Opens the teacher, given what this session has spent already.
        session: Names the call that the run is executed for: limits on requests, tokens and cost are a session's.
        turn: Taken before anything is asked; other runs may ask the same.
    """

    drafts: Callable[[Any], Iterator[Draft | Dropped]]
    dialogue: Callable[[Draft], Dialogue]
    prepare: Callable[[], Preparation] | None
    outputs_each: int
    questions_each: int
    blind_each: int
    output: str
    gate: Callable[[], Gate]
    open_asker: Callable[[Journal, Mapping[str, Any]], Awaitable[Asker]]
    num_examples: int
    session: str
    turn: Turn
