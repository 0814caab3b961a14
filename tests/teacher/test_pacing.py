import asyncio
import random

import pytest

from rebase_hf.teacher.pacing import Pacing


def drive(pacing, requests, refuses, *, latency=0.002):
    """Send `requests` that must all succeed; return how many were refused, and the limits on the way."""
    refused = 0
    limits = []
    admitted = 0

    async def one():
        nonlocal refused, admitted
        while True:
            slot = await pacing.acquire()
            limits.append(pacing.limit)
            turned_away = refuses(admitted)
            if turned_away:
                refused += 1
                await asyncio.sleep(latency)
            else:
                admitted += 1
                await asyncio.sleep(latency)
                admitted -= 1
            pacing.release(slot, turned_away=turned_away)
            if not turned_away:
                return
            await asyncio.sleep(latency)

    async def run():
        await asyncio.gather(*(one() for _ in range(requests)))

    asyncio.run(run())
    assert pacing.in_flight == 0
    return refused, limits


def test_the_window_grows_while_the_server_takes_everything():
    pacing = Pacing(most=200)
    drive(pacing, 2000, lambda _: False)
    assert pacing.limit == 200


@pytest.mark.parametrize("capacity", [3, 20, 60])
def test_saturation_brings_the_window_to_what_the_server_takes(capacity):
    pacing = Pacing(most=200)
    refused, limits = drive(pacing, 3000, lambda admitted: admitted >= capacity)
    late = limits[len(limits) // 2 :]
    assert max(late) <= 1.5 * capacity + 2
    assert sum(late) / len(late) >= 0.6 * capacity
    assert refused < 600


def test_refusals_at_random_do_not_collapse_the_window():
    pacing, chance = Pacing(most=100), random.Random(5)
    _, limits = drive(pacing, 4000, lambda _: chance.random() < 0.2)
    late = limits[len(limits) // 2 :]
    assert sum(late) / len(late) > 50


def test_a_storm_takes_the_window_down_and_it_comes_back():
    pacing = Pacing(most=100)
    storm = iter([True] * 400)
    _, limits = drive(pacing, 100, lambda _: next(storm, False))
    assert min(limits) < 4
    drive(pacing, 2000, lambda _: False)
    assert pacing.limit == 100


def test_who_is_cancelled_while_waiting_leaves_the_window_as_it_was():
    async def run():
        pacing = Pacing(most=1)
        slot = await pacing.acquire()
        waiting = [asyncio.create_task(pacing.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        pacing.release(slot, turned_away=False)
        waiting[1].cancel()  # woken already, or about to be: the turn must pass on
        got = await asyncio.wait_for(waiting[2], 1)
        pacing.release(got, turned_away=None)
        return pacing.in_flight

    assert asyncio.run(run()) == 0
