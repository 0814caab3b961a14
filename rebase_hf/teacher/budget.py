"""The limits that a user sets on requests, tokens and cost, and when the next request would break one."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rebase_hf.teacher.asking import BudgetReached, Usage
from rebase_hf.teacher.target import Teacher

CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a request in flight may take at most, as far as is known."""

    tokens: float
    cost: float


class Budget:
    """What may still be spent.

    What a request takes is known when its answer is there. Until then the longest answer that it allows is set aside
    for it. When that could break a limit, it waits for those in flight to land, which set free what they did not use;
    and when it is alone it is sent if an answer of average length fits. So a limit is passed by one answer at most.

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
        self._answers = self._chars = self._longest = 0
        self._in_flight: list[Reservation] = []
        self._landed = asyncio.Event()

    async def reserve(
        self, prompt_chars: int, max_tokens: int | None, still_wanted: Callable[[], None]
    ) -> Reservation:
        """Take leave to send one request, and count it; `land` gives the reservation back.

        Args:
            still_wanted: Called after every wait; what it raises ends the waiting.

        Raises:
            BudgetReached: It would break a limit, and nothing in flight can change that.
        """
        while True:
            self._check_requests()
            needed = self._needed(prompt_chars, max_tokens)
            reached = self._reached(needed)
            if reached is None:
                break
            if not self._in_flight:
                raise reached
            self._landed.clear()
            await self._landed.wait()
            still_wanted()
        self._in_flight.append(needed)
        self._usage.requests += 1
        return needed

    def land(self, reservation: Reservation) -> None:
        """Say that a request is no longer in flight; its tokens, if it took any, are counted by then."""
        self._in_flight.remove(reservation)
        self._landed.set()

    def count(self, prompt_chars: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Count what an answer took."""
        self._answers += 1
        self._chars += prompt_chars
        self._longest = max(self._longest, completion_tokens)
        self._usage.prompt_tokens += prompt_tokens
        self._usage.completion_tokens += completion_tokens
        if self._prices is not None:
            self._usage.cost = (self._usage.cost or 0.0) + self._price(prompt_tokens, completion_tokens)

    def _check_requests(self) -> None:
        limit, sent = self._teacher.max_requests, self._requests_before + self._usage.requests
        if limit is not None and sent + 1 > limit:
            raise self._error(limit, "requests")

    def _needed(self, prompt_chars: int, max_tokens: int | None) -> Reservation:
        used = self._usage
        prompt = prompt_chars * (used.prompt_tokens / self._chars if self._chars else 1 / CHARS_PER_TOKEN)
        if self._in_flight:
            completion = float(self._longest if max_tokens is None else max_tokens)
        else:
            # Of the very first, nothing is known but the length of its prompt.
            completion = used.completion_tokens / self._answers if self._answers else 0.0
        return Reservation(prompt + completion, self._price(prompt, completion))

    def _reached(self, needed: Reservation) -> BudgetReached | None:
        """Return the limit that one request more could break."""
        limits, used = self._teacher, self._usage
        if limits.max_tokens_total is None and limits.max_cost is None:
            return None
        flying = (*self._in_flight, needed)
        tokens = self._tokens_before + used.prompt_tokens + used.completion_tokens + sum(r.tokens for r in flying)
        cost = self._cost_before + (used.cost or 0.0) + sum(r.cost for r in flying)
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
