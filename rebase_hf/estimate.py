"""What a run would ask and cost, before anything is paid.

The run is rehearsed (rehearsal.py), which gives the prompts that would be sent. They are counted in characters, and a
sample of them in tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from rebase_hf.decisions import Decisions
from rebase_hf.earlier_runs import ENOUGH, EarlierRun, earlier_runs
from rebase_hf.failed_before import check_again, failed_outputs
from rebase_hf.plan import Plan
from rebase_hf.rehearsal import Rehearsal
from rebase_hf.task import Task
from rebase_hf.teacher.blind_prompts import blind_draft, blind_keys
from rebase_hf.teacher.budget import CHARS_PER_TOKEN
from rebase_hf.teacher.earlier_answers import EarlierAnswers, earlier_answers
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.one_request import prompt_chars
from rebase_hf.teacher.prompts import answer_schema, row_json
from rebase_hf.teacher.token_counts import count_tokens

# What passes when nothing is known: most answers of a good teacher do, and an estimate is to be within a fifth.
ASSUMED_PASSING = 0.9


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would ask. All counts but `rows`, `answered` and `have` are expectations.

    Attributes:
        wanted: Examples asked for.
        examples: Examples that would come out; fewer than wanted where rows or the journalled answers run out.
        have: Examples among them that the journal's answers give.
        rows: Rows that would be asked about.
        answered: Rows among them that the journal answers, for free.
        requests: What would be sent, `repairs` among them; without retries after faults.
        passing: The share of answers that pass; `*_from` say where a figure comes from.
        supposed: Requests among them whose answers stand in other prompts, and are taken to be as long as they may be
            there.
        stops: What a limit of the user's would do, if it is reached.
        changed: What is to be said if earlier answers are not used, though they are to the same task.
        finished: The run is complete: nothing would be asked.
        is_free: The teacher labels here, and takes no tokens.
    """

    model: str
    wanted: int
    examples: int
    have: int = 0
    rows: int = 0
    answered: int = 0
    requests: int = 0
    repairs: int = 0
    supposed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    passing: float = 1.0
    passing_from: str = ""
    prompts_from: str = ""
    answers_from: str = ""
    stops: str | None = None
    changed: str | None = None
    finished: bool = False
    is_free: bool = False


def estimate_run(plan: Plan, *, retry_failed: bool = False) -> Estimate:
    """Return what executing a plan would take. Nothing that costs is sent, and nothing is written.

    Args:
        retry_failed: What failed would be asked again.

    Raises:
        RebaseError: Nothing can be asked again.
        JournalError: The journal can't be read.
    """
    model = plan.identity.model
    failed = failed_outputs(plan) if retry_failed else []
    if not failed and Decisions.finished(plan.run_id):
        return Estimate(model, plan.num_examples, plan.num_examples, finished=True)
    runs = earlier_runs(plan.task.name, model)
    before = _passing_before(plan, runs)
    if plan.teacher.kind in ("few-shot", "none"):
        rows = ceil(plan.num_examples / before[0])
        return Estimate(
            model,
            plan.num_examples,
            plan.num_examples,
            rows=rows,
            passing=before[0],
            passing_from=before[1],
            is_free=True,
        )
    journal = Journal.peek()
    try:
        rehearsed = Rehearsal(plan, journal, before, retry_failed=retry_failed)
        rehearsed.go()
        known = EarlierAnswers() if journal is None else earlier_answers(journal, model, answer_schema(plan.task))
    finally:
        if journal is not None:
            journal.close()
    if retry_failed:
        check_again(plan, rehearsed, failed)
    return _priced(plan, rehearsed, known, _changed(plan, rehearsed, runs))


def _passing_before(plan: Plan, runs: Sequence[EarlierRun]) -> tuple[float, str]:
    """Return the share of answers that passed in this run so far, else in the newest of the task, else a guess."""
    told = sorted((run for run in runs if run.outputs >= ENOUGH), key=lambda run: run.run_id != plan.run_id)
    if told:
        run = told[0]
        return (run.examples + 1) / (run.outputs + 1), f"as in run {run.run_id[:12]}, {run.examples} of {run.outputs}"
    return ASSUMED_PASSING * (plan.checks.confident_share or 1.0), "assumed, since nothing is known yet"


def _changed(plan: Plan, rehearsed: Rehearsal, runs: Sequence[EarlierRun]) -> str | None:
    """Return what to say when a run of the same task was answered, and its answers are not those asked for now."""
    other = next((run for run in runs if run.run_id != plan.run_id and run.outputs), None)
    if other is None:
        return None
    first = rehearsed.known[: other.outputs]
    if not first or sum(first) >= len(first) / 2:
        return None
    return (
        f"Only {sum(first)} of the first {len(first)} questions are in the journal, though run {other.run_id[:12]} "
        f"put {other.outputs} to {plan.identity.model} for task `{plan.task.name}`: something that is in every one of "
        "them was changed since (instruction, label phrases, examples, index, sampling), so they are paid again."
    )


def _priced(plan: Plan, rehearsed: Rehearsal, known: EarlierAnswers, changed: str | None) -> Estimate:
    unsent, answered = rehearsed.unsent, sum(rehearsed.known)
    passing, passing_from = rehearsed.passing
    per_char, prompts_from = _tokens_per_char(plan, unsent.sample, known)
    answer, answers_from = _answer_tokens(plan, per_char, known)
    # Of the questions that would be asked, as many would need a repair as of those answered did.
    repairs = (unsent.count - rehearsed.repairs) * (rehearsed.unreadable / answered if answered >= ENOUGH else 0.0)
    again = unsent.chars / unsent.count * per_char + answer + 50.0 if unsent.count else 0.0
    # What follows on an answer that is not there yet can't be seen: as long as what is asked before it, on average.
    sent = unsent.count + repairs + rehearsed.further + rehearsed.blind
    blind_chars, blind_answer_chars = _blind_lengths(plan.task)
    chars = unsent.chars * (1 + rehearsed.further / max(1, unsent.count)) + rehearsed.blind * blind_chars
    prompt_tokens = round(chars * per_char + repairs * again)
    outputs_alone = rehearsed.blind + unsent.forms[blind_keys(plan.task)]
    own = sent - outputs_alone - unsent.supposed
    other_chars = outputs_alone * blind_answer_chars + unsent.supposed_chars
    completion_tokens = round(own * answer + other_chars * per_char)
    requests = ceil(sent)
    prices = plan.teacher.price_per_million
    cost = None if prices is None else (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1_000_000
    spent = {"max_requests": requests, "max_tokens_total": prompt_tokens + completion_tokens, "max_cost": cost or 0.0}
    examples = min(plan.num_examples, int(rehearsed.expected))
    return Estimate(
        model=plan.identity.model,
        wanted=plan.num_examples,
        examples=examples,
        have=min(rehearsed.accepted, plan.num_examples),
        rows=len(rehearsed.known),
        answered=answered,
        requests=requests,
        repairs=round(rehearsed.repairs + repairs),
        supposed=unsent.supposed,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=cost,
        passing=passing,
        passing_from=passing_from,
        prompts_from=prompts_from,
        answers_from=answers_from,
        stops=_stops(plan, spent, examples, rehearsed.accepted),
        changed=changed,
    )


def _blind_lengths(task: Task) -> tuple[float, float]:
    """Return how many characters it takes to ask for an output alone, and to answer: for the task's own examples."""
    prompts = [message.content for example in task.examples for message in blind_draft(task, example).messages]
    answers = [row_json({key: example[key] for key in blind_keys(task)}) for example in task.examples]
    return sum(map(len, prompts)) / len(task.examples), sum(map(len, answers)) / len(task.examples)


def _tokens_per_char(plan: Plan, sample: Sequence[Mapping[str, Any]], known: EarlierAnswers) -> tuple[float, str]:
    prompts = [content["messages"] for content in sample]
    if prompts and (counts := count_tokens(plan.teacher, prompts, token=plan.token)) is not None:
        chars = max(1, sum(map(prompt_chars, sample)))
        return sum(counts) / chars, f"the server's count of {len(sample)} of the prompts"
    if known.prompt_tokens:
        return known.prompt_tokens / max(1, known.prompt_chars), "what this model counted in earlier prompts"
    return 1 / CHARS_PER_TOKEN, f"{CHARS_PER_TOKEN} characters a token, assumed"


def _answer_tokens(plan: Plan, per_char: float, known: EarlierAnswers) -> tuple[float, str]:
    if known.alike >= ENOUGH:
        return known.completion_tokens / known.alike, f"as long as {known.alike} earlier answers"
    examples = [len(row_json(example)) for example in plan.task.examples]
    tokens = sum(examples) / len(examples) * per_char
    most = plan.teacher.max_tokens
    return min(tokens, most) if most else tokens, "as long as the task's examples"


def _stops(plan: Plan, spent: Mapping[str, float], examples: int, have: int) -> str | None:
    shares = {name: limit / spent[name] for name in spent if (limit := getattr(plan.teacher, name)) and spent[name]}
    name = min(shares, key=lambda name: shares[name], default=None)
    if name is None or shares[name] >= 1.0:
        return None
    sent, reached = int(spent["max_requests"] * shares[name]), have + int((examples - have) * shares[name])
    return (
        f"{name}={getattr(plan.teacher, name):g} would stop it after about {sent} requests, with about {reached} of "
        f"{plan.num_examples} examples; a larger limit goes on from there."
    )
