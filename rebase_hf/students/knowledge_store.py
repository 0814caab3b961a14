"""A knowledge store: texts that a teacher wrote, kept with a student that reads them (RetriKT, arXiv 2310.15594).

Little fits into the weights of a very small student; what its teacher knows of the task stays beside it, as texts in
an index of its own. The student finds, reranks and reads them as any passages (`grounded.py`). The store lies within
the student's folder, so that it is published with it and `load_student` needs nothing else. What the paper trains its
teacher for, to write such texts by reinforcement learning, is not done here: they are a dataset's rationales, or
yours.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.features import PROVENANCE
from rebase_hf.index.encoders import Encoder
from rebase_hf.index.licenses import DEFAULT_LICENSES
from rebase_hf.index.row_index import RowIndex
from rebase_hf.rows import Example
from rebase_hf.students.index_lookup import STORE
from rebase_hf.students.saving import KNOWLEDGE
from rebase_hf.students.student import plain_rows

# Of a row's provenance, what says of a text where it comes from; a request's id and a row's score do not.
KEPT = ("dataset", "config", "split", "revision", "row", "license", "url", "method", "teacher")


def build_knowledge_store(
    folder: str | Path,
    knowledge: Any,
    *,
    column: str = "rationale",
    license: str | None = None,
    licenses: Sequence[str] | str = DEFAULT_LICENSES,
    encoder: str | Encoder | None = None,
) -> RowIndex:
    """Build the index of a student's knowledge inside the student's folder, and open it.

    Args:
        folder: The student's folder, which may be still to come; the store is its `knowledge`. One that is there is
            replaced.
        knowledge: Texts; or rows that hold one each: a dataset that method `kard` made, dicts, or Examples. Each text
            is taken once, with the provenance of the first row that has it, in columns `provenance.*`.
        column: The rows' column that holds the text.
        license: What the texts may be passed on under; None for the licences of the rows that they were made from.
        licenses: Which licences may be stored, as `RowIndex.build` takes them.
        encoder: As `RowIndex.build` takes it. A student finds its knowledge by words; by this, others can find it by
            meaning.

    Raises:
        StudentError: There is no text, or a text without a known licence.
        RowIndexError: The licence is not one of `licenses`.

    Example:
        >>> store = build_knowledge_store("student", dataset)  # doctest: +SKIP
        >>> train_student(task, dataset, kind="grounded", index=store, output_dir="student")  # doctest: +SKIP
    """
    from datasets import Dataset, DatasetInfo, Features, Value

    texts = _distinct(knowledge, column)
    if not texts:
        raise StudentError(f"There is no knowledge to store: no row has a text in `{column}`. Name one that has.")
    held = license or _license_of(texts.values())
    features = Features({"text": Value("string"), "provenance": {name: Value(PROVENANCE[name]) for name in KEPT}})
    rows = [{"text": text, "provenance": {name: about.get(name) for name in KEPT}} for text, about in texts.items()]
    about = DatasetInfo(
        features=features, dataset_name=STORE, license=held, description="What a teacher wrote about a task, as texts."
    )
    path = Path(folder) / KNOWLEDGE
    shutil.rmtree(path, ignore_errors=True)
    return RowIndex.build(
        path,
        [Dataset.from_list(rows, info=about)],
        encoder=encoder,
        max_rows_per_source=len(rows),
        licenses=licenses,
        words=True,
    )


def _distinct(knowledge: Any, column: str) -> dict[str, Mapping[str, Any]]:
    """Return each text once, whatever its case and blanks, with the provenance of the first row that has it."""
    if isinstance(knowledge, str):
        raise StudentError("`knowledge` is one text; give a list of texts, or rows.")
    texts: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for number, row in enumerate(plain_rows(knowledge)):
        text, about = _text_of(row, column, number)
        plain = " ".join(text.split())
        if plain:
            texts.setdefault(plain.casefold(), (plain, about))
    return dict(texts.values())


def _text_of(row: Any, column: str, number: int) -> tuple[str, Mapping[str, Any]]:
    if isinstance(row, str):
        return row, {}
    if isinstance(row, Example):
        row = row.to_record()
    if not isinstance(row, Mapping):
        raise StudentError(f"Row {number} is {type(row).__name__}; expected a text, or a row with `{column}`.")
    return str(row.get(column) or ""), row.get("provenance") or {}


def _license_of(provenances: Iterable[Mapping[str, Any]]) -> str:
    held = [about.get("license") for about in provenances]
    if unknown := sum(not license_ for license_ in held):
        raise StudentError(
            f"Of {unknown} of {len(held)} texts the licence is not known, so the store could not be published. Say "
            "what they may be passed on under: license='cc-by-4.0'."
        )
    return ",".join(sorted({part.strip() for license_ in held for part in str(license_).split(",")}))
