"""A row added, rows reordered, a row's text edited: only what changed may be asked, counted on the server.

With as many examples wanted as there are rows; with the best of many rows wanted, where the changed rows are among the
best; and the same where a tenth of the answers is of no use, so that more rows are asked about than examples come out.
A label's phrase stands in every prompt: the last line says what it costs to edit one.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.asking import own_home
from benchmarks.claims import Line, parser, report
from benchmarks.loopback_server import Serving, serving
from benchmarks.made_rows import TASK, made_index, made_rows, made_text
from benchmarks.teacher_cpu import expect_all
from rebase_hf import generate

Rows = list[dict[str, str]]
ALLOWED = {"same": 0, "reordered": 0, "edited": 1, "added": 1}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=300)
    made.add_argument("--of", type=int, default=1000, help="rows in the index of the second part")
    made.add_argument("--seed", type=int, default=0)
    options = made.parse_args()
    wanted, held, seed = options.rows, options.of, options.seed
    with serving(latency=0.01) as server:
        lines = [line("changed", f"all {wanted} rows", asked_again(server, wanted, wanted, seed))]
        lines += [line("changed_best", f"best {wanted} of {held}", asked_again(server, wanted, held, seed))]
        phrase = asked_again_for_a_phrase(server, wanted)
    with serving(latency=0.01, useless=0.1) as server:
        few = f"best {wanted} of {held}, a tenth useless"
        lines += [line("changed_useless", few, asked_again(server, wanted, held, seed))]
    lines += [
        Line("changed_phrase", f"a label's phrase edited, {wanted} rows", f"{phrase} asked: it is in each prompt")
    ]
    report("teacher_changed_rows", made, options, lines)


def line(key: str, of: str, asked: dict[str, int]) -> Line:
    """Return the line of one part."""
    shown = ", ".join(f"{name} {count}" for name, count in asked.items())
    target = ", ".join(f"{name} {count}" for name, count in ALLOWED.items())
    met = all(count <= ALLOWED[name] for name, count in asked.items())
    return Line(key, f"asked after a change, {of}", shown, target, met, {"asked": asked, "allowed": ALLOWED})


def asked_again(server: Serving, wanted: int, held: int, seed: int) -> dict[str, int]:
    """Return how many requests each change costs, each made to the rows that were asked about first."""
    chance = random.Random(seed)
    found = {}
    for change in ALLOWED:
        with tempfile.TemporaryDirectory() as folder, own_home():
            rows = made_rows(held)
            asked = asking(server, Path(folder))
            used = asked(rows, wanted).rows
            more = wanted
            if change == "reordered":
                chance.shuffle(rows)
            elif change == "edited":
                place = chance.choice(used)
                rows[place] = rows[place] | {"text": rows[place]["text"] + " and thank you"}
            elif change == "added":
                rows.append({"text": f"{TASK['examples'][0]['message']} {made_text(held)}", "number": str(held)})
                more += wanted == held
            found[change] = asked(rows, more).requests
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run cost, and which rows it came from."""

    requests: int
    rows: list[int]


def asking(server: Serving, folder: Path) -> Callable[..., Asked]:
    """Return a function that runs the pipeline over some rows, always in the same place, and counts requests."""

    def asked(rows: Rows, wanted: int, task: dict[str, Any] = TASK) -> Asked:
        index = made_index(folder, rows)
        server.forget()
        examples = list(generate(task, index, server.url, num_examples=wanted))
        expect_all(len(examples), wanted)
        return Asked(server.stats()["requests"], [example.provenance["row"] for example in examples])

    return asked


def asked_again_for_a_phrase(server: Serving, wanted: int) -> int:
    """Return how many requests it costs to edit a label's phrase."""
    with tempfile.TemporaryDirectory() as folder, own_home():
        asked = asking(server, Path(folder))
        asked(made_rows(wanted), wanted)
        labels = TASK["labels"] | {"other": "whatever is left"}
        return asked(made_rows(wanted), wanted, TASK | {"labels": labels}).requests


if __name__ == "__main__":
    main()
