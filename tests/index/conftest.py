import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rebase_hf.index.row_index import RowIndex
from tests.index.hashing_encoder import HashingEncoder

COMPLAINTS = [
    {"id": "c-001", "text": "My parcel never arrived and nobody answers", "team": "delivery", "urgent": True},
    {"id": "c-002", "text": "I was charged twice in May", "team": "billing", "urgent": False},
    {"id": "c-003", "text": "The invoice shows a wrong address", "team": "billing", "urgent": False},
    {"id": "c-004", "text": "The courier left my parcel in the rain", "team": "delivery", "urgent": True},
]
REVIEWS = [
    {"review": "A wonderful film about a lighthouse keeper", "stars": 5},
    {"review": "The plot of this film is thin", "stars": 2},
    {"review": "I was charged twice in May", "stars": 1},
]


def write_source(
    folder: Path, rows: Sequence[dict[str, Any]], *, license: str | None = "mit", about: str = "", head: str = ""
) -> str:
    """Write a folder that `load_dataset` reads, with its card; return its path."""
    folder.mkdir(parents=True)
    lines = ["---", f"license: {license}" if license else "tags: []", "language: en", head.strip(), "---", "# A title"]
    card = (
        "\n".join(line for line in lines if line) + f"\n\n{about or f'Rows about {folder.name}, made for a test.'}\n"
    )
    (folder / "README.md").write_text(card)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


@pytest.fixture
def encoder() -> HashingEncoder:
    return HashingEncoder()


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    return [
        write_source(tmp_path / "bank" / "complaints", COMPLAINTS, about="Complaints of customers to a shop."),
        write_source(tmp_path / "bank" / "film_reviews", REVIEWS, license="cc-by-4.0"),
    ]


@pytest.fixture
def index(tmp_path: Path, sources: list[str], encoder: HashingEncoder) -> RowIndex:
    return RowIndex.build(tmp_path / "index", sources, encoder=encoder)


@pytest.fixture(scope="session")
def large_index(tmp_path_factory: pytest.TempPathFactory) -> RowIndex:
    """4,000 rows of three text columns and a number: enough for a graph to have something to miss."""
    root = tmp_path_factory.mktemp("large")
    nouns = [f"noun{n}" for n in range(80)]
    verbs = [f"verb{n}" for n in range(60)]
    paths = []
    for part in range(4):
        rows = [
            {
                "title": f"{nouns[(part * 20 + i) % 80]} {verbs[i % 60]}",
                "body": f"{verbs[i * 7 % 60]} {nouns[i * 3 % 80]} {nouns[i * 11 % 80]} {i % 97}th time",
                "count": i,
                "kind": f"kind {nouns[i % 5]}",
            }
            for i in range(1000)
        ]
        paths.append(write_source(root / f"part{part}", rows))
    return RowIndex.build(root / "index", paths, encoder=HashingEncoder())


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    def take(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return take
