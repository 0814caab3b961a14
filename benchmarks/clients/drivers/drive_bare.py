"""No client at all: a loop of aiohttp that posts and reads, keeps nothing, and stops at the first refusal."""

import asyncio
from collections import deque

import aiohttp
from job import Job, run


def answers(job: Job) -> list[str]:
    """Return the answers."""
    return asyncio.run(_all(job))


async def _all(job: Job) -> list[str]:
    left, found = deque(job.prompts), []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            while left:
                body = {"model": "benchmark/teacher", "messages": [{"role": "user", "content": left.popleft()}]}
                async with session.post(f"{job.url}/v1/chat/completions", json=body) as response:
                    response.raise_for_status()
                    told = await response.json()
                found.append(told["choices"][0]["message"]["content"])

        await asyncio.gather(*(work() for _ in range(job.in_flight or 1)))
    return found


if __name__ == "__main__":
    run(answers)
