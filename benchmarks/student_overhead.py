"""What training an encoder student costs besides its forward and backward passes.

`train_student(kind="encoder")` from all-MiniLM-L6-v2 on the rows of examples/support-triage, whole: the model read from
disk, rows prepared, the head fitted, batches padded, every optimiser step. Seconds are of CPU, as other work may run on
the machine. Beside it, the tokens that batches pad, with rows of like length together and in the order drawn.
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
    import torch

    torch.set_num_threads(options.threads)
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    with tempfile.TemporaryDirectory() as home:
        os.environ["REBASE_HOME"] = home
        trained(16)  # imports, and what is read from disk the first time
        rounds = [trained(options.max_pairs) for _ in range(options.rounds)]
    outside = [100 * (1 - (r["forward"] + r["backward"]) / r["all"]) for r in rounds]
    grouped, drawn = padding(options.max_pairs)
    lines = [
        Line(
            "outside",
            "CPU of train_student outside forward and backward, encoder student",
            **at_most(statistics.median(outside), TARGET, "%", digits=1),
            details={"rounds": [{k: round(v, 3) for k, v in r.items()} for r in rounds], "shares": outside},
        ),
        Line(
            "padding",
            "share of a batch's tokens that only pad, rows of like length together",
            shown=f"{100 * grouped:.1f} % (in the order drawn: {100 * drawn:.1f} %)",
        ),
    ]
    report("student_overhead", made, options, lines)


def trained(max_pairs: int) -> dict[str, float]:
    """Return the seconds of CPU of a training: all of it, and its parts."""
    from rebase_hf import train_student

    seconds: dict[str, float] = defaultdict(float)
    with timed(seconds):
        began = time.process_time()
        train_student(task(), rows(), kind="encoder", max_pairs=max_pairs)
        seconds["all"] = time.process_time() - began
    return dict(seconds)


@contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the CPU of every call of a model, of every backward pass and of every optimiser step."""
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
        setattr(owner, name, adding(getattr(owner, name), seconds, part))
    try:
        yield
    finally:
        for owner, name, method in kept:
            if method is None:
                delattr(owner, name)
            else:
                setattr(owner, name, method)


def adding(call: Callable[..., Any], seconds: dict[str, float], part: str) -> Callable[..., Any]:
    def timed_call(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return call(*args, **kwargs)
        finally:
            seconds[part] += time.process_time() - began

    return timed_call


def padding(max_pairs: int, batch_size: int = 16) -> tuple[float, float]:
    """Return the share of padding in batches of like length, and in the order in which rows were drawn."""
    from transformers import AutoTokenizer

    from rebase_hf.embedding_model import find_embedding_model
    from rebase_hf.students.batches import by_length, labels_in_turn

    tokenizer = AutoTokenizer.from_pretrained(find_embedding_model())
    given, labels = rows(), list(task()["labels"])
    shown = labels_in_turn([labels.index(row["team"]) for row in given], max_pairs, 0)
    every = [len(ids) for ids in tokenizer([row["message"] for row in given])["input_ids"]]
    lengths = [every[row] for row in shown]
    grouped = by_length(lengths, len(given), batch_size, 0)
    return waste([lengths[place] for place in grouped], batch_size), waste(lengths, batch_size)


def waste(lengths: list[int], batch_size: int) -> float:
    batches = [lengths[start : start + batch_size] for start in range(0, len(lengths), batch_size)]
    return 1 - sum(lengths) / sum(max(batch) * len(batch) for batch in batches)


def task() -> dict[str, Any]:
    """Return the example task without its evaluation set: its rows are what is trained on here."""
    from rebase_hf import Task

    content = Task.load(FOLDER).to_dict()
    return {key: value for key, value in content.items() if key != "evaluation"}


def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in (FOLDER / "eval.jsonl").read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
