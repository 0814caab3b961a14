"""A run without its teacher: its rows are retrieved, their prompts rendered, and each is looked up in the journal.

What is there is parsed and checked as the run does it (leader.py); what is not would be asked.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rebase_hf.earlier_runs import ENOUGH
from rebase_hf.errors import TeacherError
from rebase_hf.plan import Plan
from rebase_hf.planned_work import work_of
from rebase_hf.questions import Answered, no_answer
from rebase_hf.rows import Completion, Draft, Dropped, Example
from rebase_hf.teacher.asking import content_key, merge_sampling, request_content
from rebase_hf.teacher.journal import Failure, Journal, Outcome
from rebase_hf.unsent import Unsent


@dataclass(slots=True)
class _Found:
    """What the journal holds of questions that are asked together.

    Attributes:
        said: The answers question by question; of two equal questions both have the same.
    """

    said: list[Completion] = field(default_factory=list)
    answers: dict[str, Completion] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    failed: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    unknown: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Visited:
    """How far a row's questions have been followed.

    Attributes:
        first: The last question that was no repair; `answers` are to it and to its repairs.
        put: Questions so far, without repairs.
        shared: The last question is asked once for many rows.
    """

    first: Mapping[str, Any] | None = None
    answers: dict[str, Completion] = field(default_factory=dict)
    put: int = 0
    shared: bool = False


class Rehearsal:
    """Goes through a run's rows in the order in which it would ask about them, until there are enough examples.

    Args:
        journal: None where there is none: then nothing is known.
        before: The share of answers that pass and where it is known from, until the journal tells of enough.
        retry_failed: What failed would be asked again.

    Attributes:
        known: Row by row, whether the first question that is its own would be answered by the journal.
        pending: Rows that something would be asked about.
        further: Questions that follow on those, once they are answered; `blind` ask about what comes out.
        held: Rows that the journal holds an answer or a failure to, usable or not.
        failed: What the journal holds of the rows that would be in quarantine, and must forget for them to be asked
            about again: the requests that failed, or all the answers that could not be read.
    """

    def __init__(
        self, plan: Plan, journal: Journal | None, before: tuple[float, str], *, retry_failed: bool = False
    ) -> None:
        self._plan, self._journal, self._before, self._retry = plan, journal, before, retry_failed
        self._work = work_of(plan)
        self._gate = self._work.gate()
        self.known: list[bool] = []
        self.failed: list[dict[str, Outcome]] = []
        self.pending = self.held = self.decided = self.accepted = self.unreadable = self.repairs = 0
        self.further = self.blind = 0
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
        return self.accepted + self.pending * self._work.outputs_each * self.passing[0]

    def go(self) -> None:
        """Walk."""
        for draft in self._work.drafts(self.prepared()):
            if not isinstance(draft, Dropped):
                self._visit(draft)
                if self.expected >= self._plan.num_examples:
                    return

    def prepared(self) -> Any:
        """Return what is asked before all drafts came to; None where the journal does not tell."""
        if self._work.prepare is None:
            return None
        talk = self._work.prepare()
        answers: dict[str, Completion] = {}
        asked: list[Mapping[str, Any]] = []
        try:
            questions = next(talk)
            while True:
                asked += [self._content(question) for question in questions if question.repair == 0]
                found = self._find(questions)
                if found.unknown or found.failed:
                    for content in (*found.unknown, *found.failed.values()):
                        self._ask(content)
                    if found.failures:
                        self.failed.append(dict(found.failures))
                    return None
                answers |= found.answers
                questions = talk.send(tuple(found.said))
        except StopIteration as end:
            return end.value
        except TeacherError:
            # Nothing that was answered is of use: it ends the run, and is what there is to ask again.
            self.failed.append(dict(answers))
            for content in asked:
                self._ask(content)
            return None

    def _visit(self, draft: Draft) -> None:
        """Follow a row's questions as far as the journal answers them."""
        if self._gate.label_full(draft.fields.get(self._plan.task.output)) is not None:
            return
        dialogue = self._work.dialogue(draft)
        row = _Visited()
        try:
            questions = next(dialogue)
            while True:
                found = self._find(questions)
                self._note(row, questions, found)
                if found.failed:
                    self._fail(found.failures, again=(*found.failed.values(), *found.unknown), put=row.put)
                    return
                if found.unknown and not row.shared:
                    self._wait(row.put)
                    for content in found.unknown:
                        self._ask(content)
                    return
                row.answers |= found.answers
                questions = dialogue.send(self._supposed(questions) if found.unknown else tuple(found.said))
        except StopIteration as end:
            self._settle(end.value, row)

    def _note(self, row: "_Visited", questions: Sequence[Draft], found: "_Found") -> None:
        """Count what is asked next about a row, and whether the journal knows it."""
        if row.first is None:
            self.known.append(False)
            self.held += not found.unknown
        if row.first is None or row.shared:
            self.known[-1] = not found.unknown
        row.shared = questions[0].supposed is not None
        if questions[0].repair == 0:
            row.first, row.answers = self._content(questions[0]), {}
            row.put += len(questions)
        elif questions[0].repair == 1:
            self.unreadable += not row.shared

    def _find(self, questions: Sequence[Draft]) -> "_Found":
        """Look up what the journal holds of questions."""
        found = _Found()
        for question in questions:
            content = self._content(question)
            key = content_key(content)
            outcome = None if self._journal is None else self._journal.get(key)
            if outcome is None:
                found.unknown.append(content)
            elif isinstance(outcome, Failure) and question.optional and not self._retry:
                found.said.append(no_answer(key, self._plan.identity.model))
            elif isinstance(outcome, Failure):
                found.failed[key], found.failures[key] = content, outcome
            else:
                found.answers[key] = outcome
                found.said.append(outcome)
        return found

    def _supposed(self, questions: Sequence[Draft]) -> tuple[Completion, ...]:
        """Ask what is asked once for many rows; return what it is taken to be answered with."""
        for question in questions:
            self._ask(self._content(question), question.supposed)
        model = self._plan.identity.model
        return tuple(Completion("", question.supposed or "", "stop", model) for question in questions)

    def _ask(self, content: Mapping[str, Any], supposed: str | None = None) -> None:
        if self.unsent.add(content, supposed):
            self.repairs += content["repair"] > 0

    def _wait(self, put: int) -> None:
        """Count a row that something would be asked about; `put` are its questions so far, those unanswered too."""
        self.pending += 1
        own = self._work.questions_each
        if put <= own:
            self.further += own - put
            self.blind += self._work.blind_each

    def _fail(self, failed: Mapping[str, Outcome], *, again: Sequence[Mapping[str, Any]], put: int) -> None:
        self.failed.append(dict(failed))
        if not self._retry:
            self.decided += 1
            return
        self.known[-1] = again[0]["repair"] > 0
        self._wait(put)
        for content in again:
            self._ask(content)

    def _settle(self, outcomes: Sequence[Answered | Dropped], row: "_Visited") -> None:
        """Decide on what a row's answers say, as the run would."""
        if row.first is not None and any(isinstance(o, Dropped) and o.stage == "teacher" for o in outcomes):
            self._fail(row.answers, again=(row.first,), put=row.put)
            return
        for outcome in outcomes:
            self.decided += 1
            if isinstance(outcome, Answered):
                decided = self._gate.decide(outcome.draft, outcome.completion, outcome.parsed)
                self.accepted += isinstance(decided, Example)

    def _content(self, draft: Draft) -> dict[str, Any]:
        return request_content(self._plan.identity, draft, merge_sampling(self._plan.teacher, draft.sampling))


def prepared_of(plan: Plan) -> Any:
    """Return what was asked before all drafts of a run came to, by the journal; None where it does not tell."""
    journal = Journal.peek()
    try:
        return Rehearsal(plan, journal, (1.0, "supposed")).prepared()
    finally:
        if journal is not None:
            journal.close()
