"""From a plan to the work that executes it."""

from collections.abc import Mapping
from typing import Any

from rebase_hf.plan import Plan
from rebase_hf.quality.answer_checks import answer_checks
from rebase_hf.quality.answerability import answerable
from rebase_hf.quality.consistency import DRAWS, consistent
from rebase_hf.quality.gate import Gate
from rebase_hf.questions import Dialogue
from rebase_hf.rows import Draft
from rebase_hf.teacher.asking import Asker, open_teacher
from rebase_hf.teacher.journal import Journal
from rebase_hf.turn import Turn
from rebase_hf.work import Work


def work_of(plan: Plan) -> Work:
    """Return what a leader needs to execute a plan."""
    how, ground, options = plan.how, plan.ground, plan.checks
    at_sight = answer_checks(
        plan.task, refusals=options.refusals, length_factor=options.length_factor, language=options.language
    )

    def gate() -> Gate:
        name = plan.identity.model + (f"@{plan.identity.revision[:12]}" if plan.identity.revision else "")
        return Gate(
            plan.task,
            plan.guard,
            plan.checks,
            method=plan.method,
            teacher=name,
            num_examples=plan.num_examples,
            seed=plan.seed,
            label_shares=how.label_shares(plan.task, plan.options),
            repeats_inputs=how.repeats_inputs,
        )

    async def open_asker(journal: Journal, spent: Mapping[str, Any]) -> Asker:
        return await open_teacher(
            plan.teacher,
            plan.task,
            journal,
            token=plan.token,
            give_up_after=plan.give_up_after,
            seed=plan.seed,
            spent=spent,
        )

    def dialogue(draft: Draft) -> Dialogue:
        led = how.dialogue(ground(), draft)
        if options.answerable:
            led = answerable(plan.task, led, needed=options.answerable, checks=at_sight)
        if options.consistent is not None:
            led = consistent(plan.task, led, least=options.consistent, checks=at_sight)
        return led

    turn = Turn(plan.questions, plan.run_id)
    prepare = how.prepare
    return Work(
        drafts=lambda prepared: how.drafts(ground(), prepared),
        dialogue=dialogue,
        prepare=None if prepare is None else lambda: prepare(ground()),
        outputs_each=how.outputs_each(plan.options),
        questions_each=how.questions_each(plan.options),
        blind_each=how.outputs_each(plan.options) * max(options.answerable, options.consistent is not None and DRAWS),
        output=plan.task.output,
        gate=gate,
        open_asker=open_asker,
        num_examples=plan.num_examples,
        session=plan.session,
        turn=turn,
    )
