"""A small world that questions, passages and a teacher who knows it are made from: who moors where in a harbour.

A question names a boat; which quay it moors at follows from what kind of boat it is, and only the passages and the
teacher know both. A notice names the boat too, and says nothing about quays: by the question's words, that is found.
"""

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

# boat: (what it is, where such boats moor)
BOATS = {
    "Albatros": ("a trawler with beam nets", "north quay"),
    "Brigitta": ("a ketch under sail", "south quay"),
    "Cormoran": ("a tanker full of diesel", "east quay"),
    "Dolfijn": ("a lifeboat on call", "west quay"),
    "Eendracht": ("a dredger that clears silt", "old quay"),
    "Fregat": ("a ferry for islanders", "new quay"),
}


def question(boat: str) -> dict[str, str]:
    return {"question": f"The {boat} comes in tonight. Which berth?", "berth": BOATS[boat][1]}


def rules() -> list[dict[str, str]]:
    """The passages that answer: each names a kind of boat and its quay, and no boat."""
    return [
        {"title": f"Rule {i}", "rule": f"Mooring: {kind}, {quay}."} for i, (kind, quay) in enumerate(BOATS.values())
    ]


def notices() -> list[dict[str, str]]:
    """What a question's own words lead to."""
    return [{"notice": f"The {boat} comes in tonight with guests; tea is served on board."} for boat in BOATS]


def harbour_task(**changes: Any) -> dict[str, Any]:
    task = {
        "name": "berths",
        "instruction": "Name the quay at which a boat moors.",
        "inputs": ["question"],
        "output": "berth",
        "examples": [question("Albatros")],
    }
    return task | changes


def tagged(request: Mapping[str, Any], tag: str) -> Any:
    """What stands between a tag in the first message of a request, read as JSON; None where the tag does not."""
    found = re.search(rf"<{tag}>\n(.*)\n</{tag}>", request["messages"][0]["content"])
    return None if found is None else json.loads(found[1])


def asked_for(request: Mapping[str, Any]) -> str:
    """The last key of the JSON object that a request asks for."""
    return list(request["response_format"]["value"]["properties"])[-1]


def boat_in(text: str) -> str:
    return next(boat for boat in BOATS if boat in text)


def explanation(boat: str, quay: str, draw: int) -> str:
    """Words of each draw's own, so that no two are near duplicates; then the kind of boat, and the quay."""
    kind, chance = BOATS[boat][0], random.Random(draw)
    own = " ".join("".join(chance.choices("bdfgklmnprst", k=6)) for _ in range(20))
    return f"{own}. The {boat} is {kind}. Mooring of {kind} is at the {quay}."


def harbour_teacher(
    wrong: Mapping[str, str] | None = None, explain: Callable[[str, str, int], str] = explanation
) -> Callable[[Mapping[str, Any], int], str]:
    """Return an answerer that explains the answer it is given, and reads off the quay that an explanation ends with.

    Asked without an explanation, it knows the quay only where a passage tells of the boat's kind; else it says
    "north quay".

    Args:
        wrong: Boats whose explanations lead to another quay than the one that was asked to be explained.
    """

    def answer(request: Mapping[str, Any], call: int) -> str:
        key, boat = asked_for(request), boat_in(tagged(request, "question")["question"])
        if key == "rationale":
            quay = (wrong or {}).get(boat, tagged(request, "answer")["berth"])
            return json.dumps({"rationale": explain(boat, quay, request["seed"])})
        told = tagged(request, "explanation") or tagged(request, "passage") or {"": ""}
        quays = re.findall(r"\w+ quay", next(iter(told.values())))
        return json.dumps({key: quays[-1] if quays else "north quay"})

    return answer
