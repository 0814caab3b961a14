"""What the teacher's benchmarks ask about: a task, rows made on the spot, an index of them, an encoder of words."""

import hashlib
import json
import random
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf import RowIndex, Task
from rebase_hf.rows import Draft, RetrievedRow, Sampling, SourceRow
from rebase_hf.teacher.prompts import answer_schema, shown_cells, transform_messages

TASK: dict[str, Any] = {
    "name": "post-room",
    "instruction": "Decide which desk handles a customer's message.",
    "inputs": ["message"],
    "output": "desk",
    "labels": {
        "money": "a payment, an invoice or a refund",
        "parcels": "a delivery that is late, lost or damaged",
        "account": "an address, a name or a password that has changed",
        "other": "anything else",
    },
    "examples": [
        {"message": "I was charged twice for one order, please send the second amount back.", "desk": "money"},
        {"message": "My parcel was to be here on Monday and still has not arrived.", "desk": "parcels"},
    ],
}
VOCABULARY = (
    "account address afternoon again agent already amount answer arrived asked attached away back bank because "
    "before behind bill blue board bottle box branch broken building bus button cable call cancelled card case "
    "chair change charged cheque city claim clear clerk close coat code cold collect colour company confirm "
    "contract copy corner cost counter courier cover credit customer damaged date day decide deliver desk detail "
    "door double driver early east email empty engineer error evening exchange expected express extra failed "
    "family fault file fix floor form found free freight friend front garden gate gift glass green half hall hour "
    "house insurance invoice item key kitchen label lamp late leave letter limit line list local lock lost "
    "machine mail market message meter missing money month morning name neighbour never night north notice number "
    "office online open order owner pack paid paper parcel part password phone picture place please post price "
    "printer problem product promise proof question receipt red refund rent repair reply report return road room "
    "rule sale save screen seal sell send sent service ship shop signed site size slow small soon south stairs "
    "stamp station step stop store street summer support switch table tariff terms ticket today tomorrow torn "
    "town tracking train transfer travel twice type under unit update upstairs van visit voucher wait wall "
    "warehouse water week weight west wheel window winter wrong yard year yellow yesterday "
)
WORDS = VOCABULARY.split()
WORDS_PER_ROW = 60
CARD = "---\nlicense: mit\nlanguage: en\n---\n# Messages\n\nMessages that customers sent to a mail-order house.\n"


def made_text(number: int) -> str:
    """Return the text of a row, about 400 characters; no two are alike."""
    return f"message {number}: {' '.join(random.Random(number).choices(WORDS, k=WORDS_PER_ROW))}"


def made_rows(count: int) -> list[dict[str, str]]:
    """Return so many rows as a source dataset holds them."""
    return [{"text": made_text(number), "number": str(number)} for number in range(count)]


def write_source(folder: Path, rows: Sequence[dict[str, str]]) -> str:
    """Write, or replace, a folder that `load_dataset` reads, with its card; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(CARD)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


class WordEncoder:
    """Sums a fixed random direction for each word: texts that share words lie near each other. Needs no download."""

    name = "benchmark-words"
    identity = hashlib.sha256(b"benchmark-words 1").hexdigest()

    def __init__(self, dimension: int = 32) -> None:
        self.dimension = dimension

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors."""
        sums = np.stack([np.sum([_direction(w, self.dimension) for w in ("", *t.lower().split())], 0) for t in texts])
        return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


@cache
def _direction(word: str, dimension: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(dimension)


def made_index(folder: Path, rows: Sequence[dict[str, str]]) -> RowIndex:
    """Write the rows as a source below `folder` and return an index of all of them, searched exactly."""
    source = write_source(folder / "messages", rows)
    return RowIndex.build(
        folder / "index", [source], encoder=WordEncoder(), max_rows_per_source=10**6, exact_below=10**7
    )


def opened_index(folder: Path) -> RowIndex:
    """Return the index that `made_index` made."""
    return RowIndex.open(folder / "index", encoder=WordEncoder())


def task() -> Task:
    """Return the task."""
    return Task.load(TASK)


def found_rows(count: int, start: int = 0) -> list[RetrievedRow]:
    """Return rows as a search would give them."""
    return [_found_row(number) for number in range(start, start + count)]


def _found_row(number: int) -> RetrievedRow:
    cells = {"text": made_text(number), "number": str(number)}
    source = SourceRow("benchmark/messages", None, "train", None, number, "mit", None, cells)
    return RetrievedRow(source, score=0.5, columns={"input": "text", "output": "text"})


def drafts(task: Task, rows: Sequence[RetrievedRow]) -> Iterator[Draft]:
    """Yield what is to be asked about each row, rendered when it is needed, as the methods do."""
    schema = answer_schema(task)
    for row in rows:
        messages = transform_messages(task, row, cells=shown_cells(row))
        yield Draft(messages, schema, row=row, sampling=Sampling(temperature=0.7, max_tokens=1000))


if __name__ == "__main__":
    made_index(Path(sys.argv[1]), made_rows(int(sys.argv[2])))
