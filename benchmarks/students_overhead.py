"""What training an encoder student costs besides its forward and backward passes.

`train_student(kind="encoder")` from all-MiniLM-L6-v2, whole: the model read from disk, rows prepared, the head fitted,
batches padded, every optimiser step. Rows are those of examples/support-triage, two messages of one team at a time:
some 40 tokens, as in the median classification task of the public kit. What it is on single messages, half as long,
stands beside: an optimiser step costs the same whatever the rows. Seconds are of CPU, and threads sleep while they
wait, as other work may run on the machine; the same by the clock stands beside, and says something on a
quiet machine only. Last, the tokens that only pad a batch, with rows of like length together and in the order drawn.
"""

import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.claims import ROOT, Line, at_most, parser, report

TARGET = 10.0
FOLDER = ROOT / "examples" / "support-triage"


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--max-pairs", type=int, default=1200)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--threads", type=int, default=2)
    options = made.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "passive"  # read when torch is loaded
    import torch

    torch.set_num_threads(options.threads)
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    with tempfile.TemporaryDirectory() as home:
        os.environ["REBASE_HOME"] = home
        trained(messages(2), 16)  # imports, and what is read from disk the first time
        rounds = [trained(messages(2), options.max_pairs) for _ in range(options.rounds)]
        short = trained(messages(1), options.max_pairs)
    grouped, drawn = padding(messages(2), options.max_pairs)
    lines = [
        Line(
            "outside",
            "CPU of train_student outside forward and backward, encoder student",
            **at_most(statistics.median(outside(taken) for taken in rounds), TARGET, "%", digits=1),
            details={"rounds": rounds, "shares": [round(outside(taken), 2) for taken in rounds]},
        ),
        Line(
            "outside_wall",
            "the same by the clock",
            shown=f"{statistics.median(outside(taken, 'wall') for taken in rounds):.1f} %",
        ),
        Line(
            "outside_short",
            "the same on single messages, half as long",
            shown=f"{outside(short):.1f} %",
            details={"rounds": [short]},
        ),
        Line(
            "padding",
            "tokens that only pad a batch, rows of like length together",
            shown=f"{100 * grouped:.1f} % (in the order drawn: {100 * drawn:.1f} %)",
        ),
    ]
    report("students_overhead", made, options, lines)


Seconds = dict[str, dict[str, float]]
CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


def outside(taken: Seconds, clock: str = "cpu") -> float:
    """Return the share of a training that is neither forward nor backward, in percent."""
    seconds = taken[clock]
    return 100 * (1 - (seconds["forward"] + seconds["backward"]) / seconds["all"])


def trained(rows: list[dict[str, str]], max_pairs: int) -> Seconds:
    """Return what a training took by each clock: all of it, and its parts."""
    from rebase_hf import train_student

    taken: Seconds = {clock: defaultdict(float) for clock in CLOCKS}
    with timed(taken):
        adding(train_student, taken, "all")(task(), rows, kind="encoder", max_pairs=max_pairs)
    return {clock: {part: round(value, 3) for part, value in parts.items()} for clock, parts in taken.items()}


@contextmanager
def timed(taken: Seconds) -> Iterator[None]:
    """Add up every call of a model, every backward pass and every optimiser step."""
    import torch
    from transformers import BertForSequenceClassification

    places: list[tuple[Any, str, str]] = [
        (BertForSequenceClassification, "forward", "forward"),
        (BertForSequenceClassification, "from_pretrained", "loading"),
        (torch.Tensor, "backward", "backward"),
        (torch.optim.AdamW, "step", "optimiser"),
    ]
    kept = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in places]
    for owner, name, part in places:
        setattr(owner, name, adding(getattr(owner, name), taken, part))
    try:
        yield
    finally:
        for owner, name, method in kept:
            if method is None:
                delattr(owner, name)
            else:
                setattr(owner, name, method)


def adding(call: Callable[..., Any], taken: Seconds, part: str) -> Callable[..., Any]:
    def timed_call(*args: Any, **kwargs: Any) -> Any:
        began = {clock: now() for clock, now in CLOCKS.items()}
        try:
            return call(*args, **kwargs)
        finally:
            for clock, now in CLOCKS.items():
                taken[clock][part] += now() - began[clock]

    return timed_call


def padding(rows: list[dict[str, str]], max_pairs: int, batch_size: int = 16) -> tuple[float, float]:
    """Return the share of padding in batches of like length, and in the order in which rows were drawn."""
    from transformers import AutoTokenizer

    from rebase_hf.embedding_model import find_embedding_model
    from rebase_hf.students.batches import by_length, labels_in_turn

    tokenizer = AutoTokenizer.from_pretrained(find_embedding_model())
    labels = list(task()["labels"])
    shown = labels_in_turn([labels.index(row["team"]) for row in rows], max_pairs, 0)
    every = [len(ids) for ids in tokenizer([row["message"] for row in rows])["input_ids"]]
    lengths = [every[row] for row in shown]
    grouped = by_length(lengths, len(rows), batch_size, 0)
    return waste([lengths[place] for place in grouped], batch_size), waste(lengths, batch_size)


def waste(lengths: list[int], batch_size: int) -> float:
    batches = [lengths[start : start + batch_size] for start in range(0, len(lengths), batch_size)]
    return 1 - sum(lengths) / sum(max(batch) * len(batch) for batch in batches)


def task() -> dict[str, Any]:
    """Return the example task without its evaluation set: its rows are what is trained on here."""
    from rebase_hf import Task

    content = Task.load(FOLDER).to_dict()
    return {key: value for key, value in content.items() if key != "evaluation"}


def messages(together: int) -> list[dict[str, str]]:
    """Return the example task's rows, each text made of so many messages of one team."""
    rows = [json.loads(line) for line in (FOLDER / "eval.jsonl").read_text(encoding="utf-8").splitlines()]
    by_team: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_team[row["team"]].append(row["message"])
    return [
        {"message": " ".join(texts[(place + step) % len(texts)] for step in range(together)), "team": team}
        for team, texts in by_team.items()
        for place in range(len(texts))
    ]


if __name__ == "__main__":
    main()
