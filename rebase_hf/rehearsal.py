"""A run without its teacher: its rows are retrieved, their prompts rendered, and each is looked up in the journal.

What is there is parsed and checked as the run does it (leader.py); what is not would be asked.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from rebase_hf.consumers import work_of
from rebase_hf.earlier_runs import ENOUGH
from rebase_hf.plan import Plan
from rebase_hf.rows import Completion, Draft, Dropped, Example, Message
from rebase_hf.teacher.asking import merge_sampling, request_key
from rebase_hf.teacher.journal import Failure, Journal, Outcome
from rebase_hf.teacher.prompts import Unreadable, parse_answer, repair_draft

SAMPLE = 20


@dataclass(slots=True)
class Unsent:
    """Prompts that would be sent: their number and length, and a fair sample of them."""

    chance: random.Random
    count: int = 0
    chars: int = 0
    sample: list[Sequence[Message]] = field(default_factory=list)

    def add(self, messages: Sequence[Message]) -> None:
        """Count a prompt; every prompt has the same chance to stand in the sample."""
        self.count += 1
        self.chars += prompt_chars(messages)
        if len(self.sample) < SAMPLE:
            self.sample.append(messages)
        elif (place := self.chance.randrange(self.count)) < SAMPLE:
            self.sample[place] = messages


class Rehearsal:
    """Goes through a run's rows in the order in which it would ask about them, until there are enough examples."""

    def __init__(self, plan: Plan, journal: Journal, before: tuple[float, str], *, retry_failed: bool) -> None:
        self._plan, self._journal, self._before, self._retry = plan, journal, before, retry_failed
        self._work = work_of(plan)
        self._gate = self._work.gate()
        self.known: list[bool] = []  # row by row, whether its question is in the journal
        self.decided = self.accepted = self.unreadable = self.repairs = 0
        self.unsent = Unsent(random.Random(plan.seed))

    @property
    def passing(self) -> tuple[float, str]:
        """The share of answers that pass, and where it is known from."""
        if self.decided < ENOUGH:
            return self._before
        # One more on either side, so that no share is zero and the walk ends.
        return (self.accepted + 1) / (self.decided + 1), f"as did the {self.decided} that the journal has"

    @property
    def expected(self) -> float:
        """Examples that the rows so far would give."""
        return self.accepted + self.unsent.count * self.passing[0]

    def go(self) -> None:
        """Walk."""
        for draft in self._work.drafts():
            if not isinstance(draft, Dropped):
                self._visit(draft)
                if self.expected >= self._plan.num_examples:
                    return

    def _visit(self, draft: Draft) -> None:
        found = self._look_up(draft)
        self.known.append(found is not None)
        if found is None:
            self.unsent.add(draft.messages)
            return
        if isinstance(found, Completion):
            parsed = parse_answer(self._plan.task, found.text)
            if isinstance(parsed, Unreadable):
                self.unreadable += 1
                self._visit_repair(draft, found, parsed)
                return
            self.accepted += isinstance(self._gate.decide(draft, found, parsed), Example)
        self.decided += 1

    def _visit_repair(self, draft: Draft, answer: Completion, problem: Unreadable) -> None:
        task = self._plan.task
        repair = repair_draft(task, draft, answer.text, problem)
        found = self._look_up(repair)
        parsed = None if not isinstance(found, Completion) else parse_answer(task, found.text)
        if isinstance(parsed, Unreadable) and self._retry:
            self.known[-1] = False  # asked again from the first question on
            self.unsent.add(draft.messages)
        elif found is None:
            self.repairs += 1
            self.unsent.add(repair.messages)
        else:
            self.decided += 1
            if parsed is not None and not isinstance(parsed, Unreadable) and isinstance(found, Completion):
                self.accepted += isinstance(self._gate.decide(repair, found, parsed), Example)

    def _look_up(self, draft: Draft) -> Outcome | None:
        sampling = merge_sampling(self._plan.teacher, draft.sampling)
        found = self._journal.get(request_key(self._plan.identity, draft, sampling))
        return None if self._retry and isinstance(found, Failure) else found


def prompt_chars(messages: Sequence[Message]) -> int:
    """Return how long a prompt is, in characters."""
    return sum(len(message.content) for message in messages)
