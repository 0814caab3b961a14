"""A teacher that also answers blind: to each example it comes as often as the example's text decides, from 0 to 3."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import Script

DESKS = ("money", "parcels", "other")


def shown_input(request: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the input that a blind question shows; None for any other question."""
    prompt = request["messages"][0]["content"]
    return json.loads(prompt.split("<input>\n")[1].split("\n</input>")[0]) if "<input>\n" in prompt else None


def times_right(message: str) -> int:
    """Return how many of three blind answers about a message are right."""
    return int(hashlib.sha256(f"blind {message}".encode()).hexdigest(), 16) % 4


def desk_of(message: str) -> str:
    """Return the desk that `desk_answer` writes for a message."""
    return DESKS[int(hashlib.sha256(message.encode()).hexdigest(), 16) % len(DESKS)]


def blind_desk_answer() -> Script:
    """Return an answerer that writes examples as `desk_answer` does, and answers blind questions about them."""
    asked, lock = Counter[str](), threading.Lock()

    def answer(request: dict[str, Any], call: int) -> str:
        given = shown_input(request)
        if given is None:
            return desk_answer(request, call)
        message = given["message"]
        with lock:
            asked[message] += 1
            right = asked[message] <= times_right(message)
        desk = desk_of(message)
        return json.dumps({"desk": desk if right else DESKS[DESKS.index(desk) - 1]})

    return answer
