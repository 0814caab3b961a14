"""From options to a plan, and what is done with it before it is executed: an estimate, or another try."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from rebase_hf.errors import RebaseError
from rebase_hf.methods.named import method_named
from rebase_hf.methods.rebase_options import ReBaseOptions
from rebase_hf.named_options import read_options
from rebase_hf.plan import Plan, default_checks, make_plan
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.task import Task
from rebase_hf.teacher.target import Teacher

if TYPE_CHECKING:
    from rebase_hf.estimate import Estimate
    from rebase_hf.methods.consulting import Consultant
    from rebase_hf.retrying import Retried

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def plan_of(given: Mapping[str, Any]) -> Plan:
    """Return the plan that a command's options ask for.

    Raises:
        RebaseError: An option is wrong.
    """
    check_share(given["allow_quarantined"])
    try:
        teacher = Teacher(
            given["teacher"],
            model=given["model"],
            api_key_env=given["api_key_env"],
            temperature=given["temperature"],
            max_tokens=given["max_tokens"],
            max_concurrency=given["max_concurrency"],
            max_requests=given["max_requests"],
            max_tokens_total=given["max_tokens_total"],
            max_cost=given["max_cost"],
            price_per_million=given["price"],
            timeout=given["timeout"],
            dialect=given["dialect"],
            provider=given["provider"] or "auto",
            bill_to=given["bill_to"],
            pause_after=given["pause_after"],
        )
    except TypeError as error:
        raise RebaseError(as_options(str(error))) from error
    return make_plan(
        given["task"],
        given["index"],
        teacher,
        method=given["method"],
        num_examples=given["num_examples"] + given["num_validation"],
        seed=given["seed"],
        options=method_options(given),
        checks=check_options(given),
        give_up_after=seconds(given["give_up_after"]),
        consult=_consulted(given["consult_student"]),
    )


def _consulted(student: str | None) -> "Consultant | None":
    if student is None:
        return None
    from rebase_hf.students.consulting import consult_student

    return consult_student(student)


def method_options(given: Mapping[str, Any]) -> Any:
    """Return the method's options that a command gives: `--option NAME=VALUE`, and those of ReBase with a flag.

    Raises:
        RebaseError: One is no NAME=VALUE, stands twice, or belongs to another method.
    """
    named: dict[str, Any] = named_texts(given["option"], "--option", "shots=3")
    if given["max_per_source"] is not None:
        if "max_per_source" in named:
            raise RebaseError("--max-per-source and --option max_per_source say the same; give one.")
        named["max_per_source"] = given["max_per_source"]
    method = method_named(given["method"])
    options = method.read_options(named)
    if not given["as_published"]:
        return options
    if method.options is not ReBaseOptions:
        raise RebaseError(f"--as-published belongs to method `rebase`, not `{method.name}`. Leave it out.")
    return replace(ReBaseOptions.as_published(), **{name: getattr(options, name) for name in named})


def check_options(given: Mapping[str, Any]) -> CheckOptions | None:
    """Return the checks that a command gives (`--check NAME=VALUE`); None for those that fit task and teacher."""
    if not given["check"]:
        return None
    named = named_texts(given["check"], "--check", "cartography=0.83")
    task, teacher = Task.load(given["task"]), Teacher.of(given["teacher"])
    options: CheckOptions = replace(default_checks(task, teacher), **changed_options(named))
    return options


def changed_options(named: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of checks that are named, read from their texts."""
    read = read_options(CheckOptions, named, "What is checked")
    return {name: getattr(read, name) for name in named}


def named_texts(texts: Sequence[str] | None, option: str, example: str) -> dict[str, str]:
    """Return `NAME=VALUE` texts by name.

    Raises:
        RebaseError: One is no such text, or stands twice.
    """
    named: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or name in named:
            raise RebaseError(f"{option} {text}: expected NAME=VALUE, each name once, as in {option} {example}.")
        named[name] = value.strip()
    return named


def as_options(message: str) -> str:
    """Return what Teacher says of its arguments, with the options' names in their place.

    Example:
        >>> as_options("Teacher(max_requests=0): expected a number above zero.")
        '--max-requests 0: expected a number above zero.'
    """
    message = re.sub(r"Teacher\((\w+)=(.*?)\)(?=[:;,.]? |$)", _as_option, message)
    message = message.replace("price_per_million=(prompt, completion)", "--price PROMPT COMPLETION")
    return re.sub(r" \(--[\w-]+\)\.$", ".", message)


def _as_option(match: re.Match[str]) -> str:
    name = match[1].removesuffix("_per_million").replace("_", "-")
    return f"--{name}" + ("" if match[2] in ("...", "True") else f" {match[2]}")


def seconds(text: str) -> float:
    """Return a duration such as 90s, 10m or 1h in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None:
        raise RebaseError(f"`{text}` is no duration; write it as 90s, 10m or 1h.")
    return float(match[1]) * UNITS[match[2] or "s"]


def check_share(share: float) -> None:
    """Raise where --allow-quarantined is no share."""
    if not 0.0 <= share <= 1.0:
        raise RebaseError(f"--allow-quarantined is {share:g}; expected a share from 0 to 1, such as 0.05.")


def begin(plan: Plan, *, dry_run: bool, retry: bool) -> bool:
    """Do what --dry-run and --retry-failed ask for before a run; return whether it is to be executed."""
    if dry_run:
        from rebase_hf.estimate import estimate_run

        for line in estimate_lines(estimate_run(plan, retry_failed=retry)):
            typer.echo(line)
        return False
    if retry:
        from rebase_hf.retrying import retry_failed

        for line in retried_lines(retry_failed(plan)):
            typer.echo(line, err=True)
    return True


def retried_lines(retried: "Retried") -> Iterator[str]:
    """Yield what is asked again as text."""
    if retried.again:
        yield f"{retried.again} failed outputs are asked again."
    if retried.meanwhile:
        yield f"{retried.meanwhile} failed outputs were asked again by another run since, and are decided anew."
    if not (retried.again or retried.meanwhile):
        yield "Nothing that this run asks has failed."


def estimate_lines(estimate: "Estimate") -> Iterator[str]:
    """Yield an estimate as text."""
    yield "Dry run: nothing that costs was asked, no run was begun and no answer or failure changed."
    if estimate.finished:
        yield f"The run is finished: nothing would be asked of {estimate.model}."
        return
    if estimate.changed:
        yield estimate.changed
    yield (
        f"For {estimate.examples:,} of {estimate.wanted:,} examples, about {estimate.rows:,} rows are asked about: "
        f"{estimate.passing:.0%} of answers pass ({estimate.passing_from})."
    )
    if estimate.is_free:
        yield f"{estimate.model} answers here, for nothing."
        return
    yield f"  in the journal  {estimate.answered:,} rows, free of charge; {estimate.have:,} examples come from them"
    repairs = f", {estimate.repairs:,} of them repairs" if estimate.repairs else ""
    yield f"  to be sent      {estimate.requests:,} requests to {estimate.model}{repairs}; retries not counted"
    yield f"  prompts         {estimate.prompt_tokens:,} tokens ({estimate.prompts_from})"
    yield f"  answers         {estimate.completion_tokens:,} tokens ({estimate.answers_from})"
    cost = "unknown without --price PROMPT COMPLETION" if estimate.cost is None else f"{estimate.cost:.4g}"
    yield f"  cost            {cost}"
    if estimate.supposed:
        yield (
            f"Approximate: {estimate.supposed:,} answers that stand in the prompts after them (the plans of datasets) "
            "are not there yet, and are taken to be as long as these show them; shorter ones cost less."
        )
    if estimate.stops:
        yield estimate.stops
