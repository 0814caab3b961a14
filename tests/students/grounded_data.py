"""A small task whose questions are answered by passages, an index of these, and rows as method `kard` makes them."""

from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetInfo

from rebase_hf.index.row_index import RowIndex
from rebase_hf.task import Task
from tests.index.hashing_encoder import HashingEncoder

STONES = (
    "amber",
    "beryl",
    "coral",
    "diamond",
    "emerald",
    "flint",
    "garnet",
    "jade",
    "opal",
    "pearl",
    "quartz",
    "ruby",
)
FLOATS = {stone: "yes" if place % 3 == 0 else "no" for place, stone in enumerate(STONES)}


def make_task(**change: Any) -> Task:
    content = {
        "name": "floats",
        "instruction": "Does it float?",
        "inputs": ["question"],
        "output": "answer",
        "labels": ["yes", "no"],
        "examples": [{"question": "can cork float", "answer": "yes"}],
    }
    return Task.load({**content, **change})


def make_index(folder: Path) -> RowIndex:
    texts = [f"{stone} is {'light' if FLOATS[stone] == 'yes' else 'heavy'}" for stone in STONES]
    texts += [f"{stone} in the shop" for stone in STONES]
    source = Dataset.from_dict({"text": texts}, info=DatasetInfo(dataset_name="stones", license="mit"))
    return RowIndex.build(folder, [source], encoder=HashingEncoder())


def make_rows() -> list[dict[str, Any]]:
    """Two rationales a question, each with the passage that it finds."""
    rows = []
    for stone in STONES[:9]:
        weight = "light" if FLOATS[stone] == "yes" else "heavy"
        for rationale in (f"so {stone} is {weight}", f"it is {weight}"):
            rows.append(
                {
                    "question": f"can {stone} float",
                    "answer": FLOATS[stone],
                    "rationale": rationale,
                    "passages": [f"{stone} is {weight}"],
                }
            )
    return rows


class Recording:
    """Stands before a tokenizer and keeps what it is given to read."""

    def __init__(self, tokenizer):
        self.tokenizer, self.read = tokenizer, []

    def __call__(self, texts, **options):
        self.read.extend(texts)
        return self.tokenizer(texts, **options)

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)
