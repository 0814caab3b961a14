"""The limits that a user sets on requests, tokens and cost, and when the next request would break one."""

import asyncio
from collections.abc import Mapping
from typing import Any

from rebase_hf.teacher.asking import BudgetReached, Usage
from rebase_hf.teacher.target import Teacher

CHARS_PER_TOKEN = 4


class Budget:
    """What may still be spent.

    What a request takes is known when its answer is there. Until then it is reckoned with what the answers so far took
    on average, before the first with the length of its prompt and the longest answer that it allows. When that could
    break a limit, the request waits for those in flight to land instead of ending the run: their answers may have been
    shorter than was reckoned with.

    Args:
        usage: The counts of this teacher; requests are counted here.
        spent: What was spent of the limits before, by other processes of the same call: `requests`, `prompt_tokens`,
            `completion_tokens`, `cost`.
    """

    def __init__(self, teacher: Teacher, usage: Usage, spent: Mapping[str, Any], url: str) -> None:
        self._teacher, self._usage, self._url = teacher, usage, url
        self._requests_before = int(spent.get("requests", 0))
        self._tokens_before = int(spent.get("prompt_tokens", 0)) + int(spent.get("completion_tokens", 0))
        self._cost_before = float(spent.get("cost") or 0.0)
        self._prices = teacher.price_per_million
        self._answers = 0
        self._in_flight = 0
        self._landed = asyncio.Event()

    async def reserve(self, prompt_chars: int, max_tokens: int | None) -> None:
        """Take leave to send one request, and count it; `land` gives the reservation back.

        Raises:
            BudgetReached: It would break a limit, and nothing in flight can change that.
        """
        while True:
            self._check_requests()
            reached = self._reached(prompt_chars, max_tokens or 0)
            if reached is None:
                break
            if self._in_flight == 0:
                raise reached
            self._landed.clear()
            await self._landed.wait()
        self._in_flight += 1
        self._usage.requests += 1

    def land(self) -> None:
        """Say that a request is no longer in flight; its tokens, if it took any, are counted by then."""
        self._in_flight -= 1
        self._landed.set()

    def count(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count what an answer took."""
        self._answers += 1
        self._usage.prompt_tokens += prompt_tokens
        self._usage.completion_tokens += completion_tokens
        if self._prices is not None:
            self._usage.cost = (self._usage.cost or 0.0) + self._price(prompt_tokens, completion_tokens)

    def _check_requests(self) -> None:
        limit, sent = self._teacher.max_requests, self._requests_before + self._usage.requests
        if limit is not None and sent + 1 > limit:
            raise self._error(limit, "requests")

    def _reached(self, prompt_chars: int, max_tokens: int) -> BudgetReached | None:
        """Return the limit that one request more would break, reckoned with what is in flight."""
        limits = self._teacher
        if limits.max_tokens_total is None and limits.max_cost is None:
            return None
        used = self._usage
        if self._answers:
            prompt, completion = used.prompt_tokens / self._answers, used.completion_tokens / self._answers
        else:
            # The very first one is sent, whatever it allows: nothing is known of how long answers are.
            prompt, completion = prompt_chars / CHARS_PER_TOKEN, float(max_tokens if self._in_flight else 0)
        ahead = self._in_flight + 1
        tokens = self._tokens_before + used.prompt_tokens + used.completion_tokens + ahead * (prompt + completion)
        cost = self._cost_before + (used.cost or 0.0) + ahead * self._price(prompt, completion)
        for limit, spent, unit in ((limits.max_tokens_total, tokens, "tokens"), (limits.max_cost, cost, "cost")):
            if limit is not None and spent > limit:
                return self._error(limit, unit)
        return None

    def _price(self, prompt_tokens: float, completion_tokens: float) -> float:
        prices = self._prices or (0.0, 0.0)
        return (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1_000_000

    def _error(self, limit: float, unit: str) -> BudgetReached:
        requests = self._requests_before + self._usage.requests
        tokens = self._tokens_before + self._usage.prompt_tokens + self._usage.completion_tokens
        cost = f" and {self._cost_before + (self._usage.cost or 0.0):.4g} spent" if self._prices is not None else ""
        return BudgetReached(
            f"The budget of {limit:g} {unit} has no room for another request, after {requests} requests, {tokens} "
            f"tokens{cost}. What was answered is kept; raise the limit and run the same command again to go on.",
            url=self._url,
        )
