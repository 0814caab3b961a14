"""The dataset as a zip file that `load_dataset` opens once it is unpacked."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rebase_hf.public_text import public
from rebase_hf.publish.cards import render_dataset_card
from rebase_hf.publish.finished_run import FinishedRun

Format = Literal["parquet", "jsonl"]
# Of every entry: the same dataset gives the same bytes.
DATE = (1980, 1, 1, 0, 0, 0)


def write_zip(run: Path, target: Path, format: Format) -> Path:
    """Write the dataset of a run with its card, task, report and ledger, and return the file.

    Args:
        format: `parquet`, as the run folder holds it, or `jsonl`, with labels as text.

    Raises:
        PublishError: The folder is no finished run.
    """
    folder = FinishedRun.open(run)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _files(folder, format):
            entry = zipfile.ZipInfo(f"{folder.task.name}/{name}", DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    target.write_bytes(buffer.getvalue())
    return target


def _files(folder: FinishedRun, format: Format) -> Iterator[tuple[str, bytes]]:
    card = render_dataset_card(folder.path)
    if format == "jsonl":
        card = _naming_json(card)
    yield "README.md", card.encode()
    for split, path in folder.data_files.items():
        content = path.read_bytes() if format == "parquet" else b"".join(_lines(folder, split))
        yield f"data/{split}.{format}", content
    report = json.dumps(public(folder.report), indent=2, ensure_ascii=False) + "\n"
    yield "report.json", report.encode()
    for name in ("task.yaml", "ledger.jsonl"):
        yield name, (folder.path / name).read_bytes()


def _lines(folder: FinishedRun, split: str) -> Iterator[bytes]:
    for of, row in folder.rows():
        if of == split:
            yield (json.dumps(row, ensure_ascii=False) + "\n").encode()


def _naming_json(card: str) -> str:
    """Return a card whose metadata names the JSON files in place of the Parquet ones."""
    _, metadata, body = card.split("---\n", 2)
    metadata = re.sub(r"(?<=path: data/)(\w+)\.parquet", r"\1.jsonl", metadata)
    return "---\n".join(("", metadata, body))
