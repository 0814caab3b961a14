"""A finished run, read for those who publish it."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rebase_hf.public_text import public_name
from rebase_hf.publish.licenses import License, derive_license, with_teacher
from rebase_hf.publish.run_files import intact, read_object, read_run
from rebase_hf.publish.teacher_terms import TeacherLicense
from rebase_hf.task import Task

RunPath = str | Path

SPLITS = ("train", "validation")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Source:
    """One source of the rows that went into a dataset.

    Attributes:
        rows: How many examples were made from it.
    """

    dataset: str
    config: str | None
    split: str | None
    revision: str | None
    license: str | None
    url: str | None
    rows: int

    @property
    def on_hub(self) -> bool:
        """Whether it is a Hub dataset at a known commit; else it was a local folder or file."""
        return is_hub_id(self.dataset) and bool(_COMMIT.fullmatch(self.revision or ""))


def is_hub_id(name: str | None) -> bool:
    """Whether a name can be a Hub id (`org/name`): whatever lies in the working directory."""
    return bool(name and _HUB_ID.fullmatch(name))


@dataclass(frozen=True)
class FinishedRun:
    """A run folder, read.

    Attributes:
        report: What `report.json` holds.
        task: The task as the run read it.
    """

    path: Path
    report: Mapping[str, Any]
    task: Task

    @classmethod
    def open(cls, run: "RunPath | FinishedRun") -> "FinishedRun":
        """Read a run folder; one that is read already is returned.

        Raises:
            PublishError: It is none, or a part of it is missing or damaged.
        """
        if isinstance(run, FinishedRun):
            return run
        path = Path(run)
        report, task = read_run(path)
        return cls(path, report, task)

    @property
    def folder_name(self) -> str:
        """The run folder's name, which `datasets` wants to know: it loads no `.`."""
        return self.path.resolve().name

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.report.get("method") or "rebase")

    @cached_property
    def student(self) -> Mapping[str, Any]:
        """What `student/student.json` holds: kind, base model, ...; empty without a student."""
        return self._of_student("student.json")

    @cached_property
    def training(self) -> Mapping[str, Any]:
        """What `student/training.json` holds: how the student was trained; empty without a student."""
        return self._of_student("training.json")

    def _of_student(self, name: str) -> Mapping[str, Any]:
        path = self.path / "student" / name
        return read_object(path) if path.is_file() else {}

    @property
    def base_model(self) -> str | None:
        """What the student was started from; of a local path the last part."""
        name = self.student.get("base_model") or (self.report.get("comparison") or {}).get("base_model")
        return public_name(str(name)) if name else None

    @property
    def encoder(self) -> str | None:
        """The name of the index's encoder."""
        encoder = (self.report.get("index") or {}).get("encoder")
        name = encoder.get("name") if isinstance(encoder, Mapping) else encoder
        return public_name(str(name)) if name else None

    @property
    def data_files(self) -> dict[str, Path]:
        """The dataset's files by split."""
        files = {split: self.path / "data" / f"{split}.parquet" for split in SPLITS}
        return {split: file for split, file in files.items() if file.is_file()}

    @property
    def is_self_training(self) -> bool:
        """Whether no LLM was asked: a model trained on the few examples labelled the rows."""
        return (self.report.get("teacher") or {}).get("kind") == "few-shot"

    @cached_property
    def split_sizes(self) -> dict[str, int]:
        """Rows by split."""
        import pyarrow.parquet as pq

        sizes = {}
        for split, file in self.data_files.items():
            with intact(file):
                sizes[split] = pq.read_metadata(file).num_rows
        return sizes

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The dataset's columns."""
        import pyarrow.parquet as pq

        return tuple(pq.read_schema(next(iter(self.data_files.values()))).names)

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each row with its split; labels as text."""
        import pyarrow.parquet as pq
        from datasets import ClassLabel, Features

        for split, path in self.data_files.items():
            with intact(path), pq.ParquetFile(path) as file:
                features = Features.from_arrow_schema(file.schema_arrow)
                labels = {name: feature for name, feature in features.items() if isinstance(feature, ClassLabel)}
                for batch in file.iter_batches(batch_size=1000):
                    for row in batch.to_pylist():
                        for name, feature in labels.items():
                            row[name] = None if row[name] is None else feature.int2str(row[name])
                        yield split, row

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Every source that a row of the dataset came from, the most used first."""
        counts: Counter[tuple[Any, ...]] = Counter()
        urls: dict[tuple[Any, ...], str | None] = {}
        for _, row in self.rows():
            made_from = row.get("provenance") or {}
            everything = [*(row.get("sources") or ()), *([made_from] if made_from.get("dataset") else [])]
            keys = {
                tuple(entry.get(k) for k in ("dataset", "config", "split", "revision", "license"))
                for entry in everything
            }
            counts.update(keys)
            for key in keys:
                url = made_from.get("url") if key[0] == made_from.get("dataset") else None
                urls[key] = urls.get(key) or url
        ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
        return tuple(
            Source(public_name(dataset), config, split, revision, license_, urls[key], rows)
            for key, rows in ordered
            for dataset, config, split, revision, license_ in (key,)
        )

    @cached_property
    def license(self) -> License:
        """The licence that the dataset may be published under."""
        # A user's own rows, in a task that states no licence for them, are the user's to publish.
        found = derive_license(source_licenses(tuple(s for s in self.sources if s not in self.own_sources)))
        teacher = TeacherLicense.of(self.report)
        # What only labels gives rows no licence: that of the few-shot teacher's encoder is told alone.
        return with_teacher(found, None if self.is_self_training and teacher.found != "flag" else teacher.identifier)

    @property
    def own_sources(self) -> tuple[Source, ...]:
        """The task's own rows among the sources, where the task states no licence for them."""
        own = {("examples", None), ("train", None)}
        return tuple(s for s in self.sources if s.dataset == self.task.name and (s.split, s.license) in own)

    def with_teacher_license(self, license: TeacherLicense | None) -> "FinishedRun":
        """Return the same run, its teacher under another licence than the report says; None for the same."""
        if license is None:
            return self
        kept = {k: v for k, v in (self.report.get("teacher") or {}).items() if not k.startswith("license")}
        return FinishedRun(self.path, {**self.report, "teacher": kept | license.to_report()}, self.task)

    @cached_property
    def retrieved_cells(self) -> dict[tuple[Any, ...], Mapping[str, str]]:
        """The text of the retrieved rows by their address; empty when the run kept none (`rows.jsonl`)."""
        path, cells = self.path / "rows.jsonl", {}
        if path.is_file():
            with intact(path), path.open(encoding="utf-8") as lines:
                for line in lines:
                    kept = json.loads(line)
                    if kept.get("source") and kept.get("cells"):
                        cells[address(kept["source"])] = kept["cells"]
        return cells


def address(source: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what names one row: dataset, config, split, revision, position."""
    return tuple(source.get(key) for key in ("dataset", "config", "split", "revision", "row"))


def source_licenses(sources: tuple[Source, ...]) -> dict[str, str | None]:
    """Return the licence of each source dataset; two revisions under different licences both count."""
    held: dict[str, str | None] = {}
    for source in sources:
        known = held.get(source.dataset, source.license)
        if known is None or source.license is None:
            held[source.dataset] = None
        else:
            held[source.dataset] = known if source.license in known.split(",") else f"{known},{source.license}"
    return held
