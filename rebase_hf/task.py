"""Task: what the user wants, read from `task.yaml`, a dict, or the Hub, and checked."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from rebase_hf.errors import TaskError
from rebase_hf.labelled_rows import FILE_KINDS, Rows, RowsReference, as_text
from rebase_hf.task_file import Beside, Find, read_task_file

Kind = Literal["classification", "extractive", "generation"]

# Which split is read where a task names none.
EVALUATION_SPLITS, TRAIN_SPLITS = ("test", "validation"), ("train",)
METRICS: dict[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1"),
    "extractive": ("squad_f1", "exact_match"),
    "generation": ("rouge_l", "exact_match", "chrf", "squad_f1"),
}
RESERVED_FIELDS = ("rationale", "provenance", "sources")
KEYS = (
    "name",
    "instruction",
    "inputs",
    "output",
    "labels",
    "examples",
    "extractive",
    "evaluation",
    "train",
    "attributes",
    "language",
    "metric",
    "license",
)
MAX_EXAMPLES = 50


@dataclass(frozen=True)
class Task:
    """What the user wants done, and a handful of examples of it.

    Attributes:
        inputs: Names of the input fields, in order.
        output: Name of the output field.
        labels: For a classification task, label to the phrase that describes a text with that label, in order.
        examples: 1 to 50 dicts of the task's fields, each optionally with a `rationale`.
        extractive: The output must be a span of an input.
        evaluation: Rows to score by; never retrieved from, never trained on.
        train: Labelled rows that the user has, if any.

    Example:
        >>> task = Task.load({"name": "tone", "instruction": "Name the tone.", "labels": ["kind", "rude"],
        ...                   "examples": [{"input": "Thanks a lot!", "output": "kind"}]})
        >>> task.kind
        'classification'
    """

    name: str
    instruction: str
    inputs: tuple[str, ...]
    output: str
    labels: Mapping[str, str]
    examples: tuple[Mapping[str, str], ...]
    extractive: bool = False
    evaluation: RowsReference | None = None
    train: RowsReference | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    language: str = "en"
    metric: str = ""
    license: str | None = None

    @property
    def kind(self) -> Kind:
        """Classification when it has labels, else extractive or generation."""
        if self.labels:
            return "classification"
        return "extractive" if self.extractive else "generation"

    @property
    def reasons(self) -> bool:
        """Whether examples carry rationales: a chain-of-thought task."""
        return any("rationale" in example for example in self.examples)

    @property
    def fields(self) -> tuple[str, ...]:
        """The input fields and the output field."""
        return (*self.inputs, self.output)

    def input_text(self, row: Mapping[str, Any]) -> str:
        """Return a row's inputs as one text: the field alone, or its fields one a line."""
        return "\n".join(str(row[name]) for name in self.inputs)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that the task says, the content of the rows it names included."""
        content = self.to_dict()
        for name, reference in (("evaluation", self.evaluation), ("train", self.train)):
            content[name] = reference.fingerprint() if reference else None
        content["labels"] = list(self.labels.items())  # their order counts: it numbers the classes
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the task as `task.yaml` holds it; defaults that say nothing are left out."""
        content: dict[str, Any] = {
            "name": self.name,
            "instruction": self.instruction,
            "inputs": list(self.inputs),
            "output": self.output,
            "labels": dict(self.labels),
            "examples": [dict(example) for example in self.examples],
            "extractive": self.extractive,
            "evaluation": _reference_dict(self.evaluation),
            "train": _reference_dict(self.train),
            "attributes": {name: list(values) for name, values in self.attributes.items()},
            "language": self.language,
            "metric": self.metric,
            "license": self.license,
        }
        return {key: value for key, value in content.items() if value not in (None, {}, False)}

    def to_yaml(self) -> str:
        """Return the task as YAML that `Task.load` reads back to an equal task."""
        content = self.to_dict()
        if "extractive" in content:
            content["extractive"] = "true"
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)

    @classmethod
    def load(cls, source: "Task | Mapping[str, Any] | str | Path") -> "Task":
        """Return the task that `source` holds.

        Args:
            source: A Task, a dict, the path of a YAML file or of a folder with a `task.yaml`, or the id of a Hub
                dataset that holds a `task.yaml`.

        Raises:
            TaskError: Something in it is wrong; the message names the field, what it holds and what is allowed.
        """
        if isinstance(source, Task):
            return source
        if isinstance(source, Mapping):
            return _parse(source, "task", Beside(Path()))
        if not isinstance(source, str | Path):
            raise TaskError(
                f"Task is {source!r:.80}; expected a Task, a dict, the path of a task file or a Hub dataset's id."
            )
        content, where, find = read_task_file(source)
        return _parse(content, where, find)

    def check_row(self, row: Mapping[str, Any], where: str) -> dict[str, str]:
        """Return the task's fields of a labelled row as text.

        Raises:
            TaskError: A field is missing, or the label is not one of the task's.
        """
        checked = {name: text for name in self.fields if (text := as_text(row.get(name))) is not None}
        missing = [name for name in self.fields if name not in checked]
        if missing:
            held = (
                f"`{missing[0]}` there is {row[missing[0]]!r:.80}" if missing[0] in row else f"it has {_quoted(row)}"
            )
            raise TaskError(
                f"Task `{self.name}`: {where} lacks {_quoted(missing)}; {held}. "
                f"Every row needs {_quoted(self.fields)}, each a text."
            )
        if self.labels and checked[self.output] not in self.labels:
            raise TaskError(
                f"Task `{self.name}`: label `{checked[self.output]}` in {where} is not one of "
                f"{', '.join(self.labels)}. Add it to `labels` or correct the row."
            )
        return checked

    def evaluation_rows(self) -> list[dict[str, str]]:
        """Return the evaluation set's rows, checked; an empty list when the task names none."""
        return self._labelled(self.evaluation, "evaluation", EVALUATION_SPLITS)

    def evaluation_records(self) -> Rows:
        """Return the evaluation set's rows with all their columns; an empty list when the task names none."""
        return [] if self.evaluation is None else self.evaluation.read(EVALUATION_SPLITS)

    def train_records(self) -> Rows:
        """Return the labelled rows that the user has with all their columns; an empty list when there are none."""
        return [] if self.train is None else self.train.read(TRAIN_SPLITS)

    def train_rows(self) -> list[dict[str, str]]:
        """Return the labelled rows that the user has, checked; an empty list when the task names none."""
        return self._labelled(self.train, "train", TRAIN_SPLITS)

    def _labelled(self, reference: RowsReference | None, name: str, splits: tuple[str, ...]) -> list[dict[str, str]]:
        if reference is None:
            return []
        rows = [self.check_row(row, f"{name} row {i}") for i, row in enumerate(reference.read(splits))]
        if not rows:
            raise TaskError(
                f"Task `{self.name}`: `{name}` names {reference.path or reference.dataset}, which holds no rows. "
                f"Add rows with {_quoted(self.fields)}, or leave `{name}` out."
            )
        return rows


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _reference_dict(reference: RowsReference | None) -> dict[str, str] | None:
    if reference is None:
        return None
    names = ("path", "dataset", "config", "split", "revision")
    return {name: value for name in names if (value := getattr(reference, name)) is not None}


def _parse(content: Mapping[str, Any], where: str, find: Find) -> Task:
    for key in content:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys are {_quoted(KEYS)}."
            raise TaskError(f"{where}: unknown key `{key}`; {hint}")
    content = {key: value for key, value in content.items() if value is not None}
    name = _text(content, "name", where)
    if not all(c.isalnum() or c in "-_." for c in name) or not name[0].isalnum():
        raise TaskError(
            f"{where}: `name` is `{name}`; use letters, digits, `-`, `_` and `.` only, as in `support-triage`."
        )
    inputs = _names(content.get("inputs", ["input"]), "inputs", where)
    output = _text({"output": "output", **content}, "output", where)
    for field_name in (*inputs, output):
        if field_name in RESERVED_FIELDS or (*inputs, output).count(field_name) > 1:
            raise TaskError(f"{where}: field `{field_name}` is reserved or named twice; call it something else.")
    labels = _labels(content.get("labels") or {}, where)
    extractive = _flag(content.get("extractive", False), "extractive", where)
    if labels and extractive:
        raise TaskError(f"{where}: a task has either `labels` or `extractive: true`, not both. Remove one.")
    task = Task(
        name=name,
        instruction=_text(content, "instruction", where),
        inputs=inputs,
        output=output,
        labels=labels,
        examples=(),
        extractive=extractive,
        evaluation=_reference(content.get("evaluation"), "evaluation", where, find),
        train=_reference(content.get("train"), "train", where, find),
        attributes=_attributes(content.get("attributes") or {}, where),
        language=_text({"language": "en", **content}, "language", where),
        license=_text(content, "license", where) if "license" in content else None,
    )
    metric = _text({"metric": METRICS[task.kind][0], **content}, "metric", where)
    if metric not in METRICS[task.kind]:
        raise TaskError(
            f"{where}: metric `{metric}` does not fit a {task.kind} task; use one of {_quoted(METRICS[task.kind])}."
        )
    task = replace(task, metric=metric)
    return replace(task, examples=_examples(content.get("examples"), task, where))


def _text(content: Mapping[str, Any], key: str, where: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not value.strip():
        raise TaskError(f"{where}: `{key}` is {'missing' if value is None else repr(value)}; give it a text.")
    return value.strip()


def _names(value: Any, key: str, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and n for n in names):
        raise TaskError(f"{where}: `{key}` is {value!r}; expected a list of field names, as in [question, context].")
    return tuple(names)


def _flag(value: Any, key: str, where: str) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise TaskError(f"{where}: `{key}` is `{value}`; expected true or false.")
    return text == "true"


def _labels(value: Any, where: str) -> dict[str, str]:
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if isinstance(value, list | tuple):
        pairs = [(label, None) for label in value]
    if not isinstance(pairs, list):
        raise TaskError(f"{where}: `labels` is {value!r}; expected `label: a phrase that describes a text with it`.")
    labels: dict[str, str] = {}
    for label, phrase in pairs:
        name, described = as_text(label), "" if phrase is None else as_text(phrase)
        if not name or not name.strip() or described is None:
            raise TaskError(
                f"{where}: label {label!r} has the phrase {phrase!r}; expected `label: a phrase that describes a text "
                "with it`, both texts."
            )
        if name in labels:
            raise TaskError(f"{where}: label `{name}` stands in `labels` twice. Remove one.")
        labels[name] = described.strip() or name
    if len(labels) == 1:
        raise TaskError(f"{where}: `labels` has only `{next(iter(labels))}`; a classification needs at least two.")
    return labels


def _attributes(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise TaskError(f"{where}: `attributes` is {value!r}; expected `dimension: [value, value]`.")
    return {str(name): _names(values, f"attributes.{name}", where) for name, values in value.items()}


def _reference(value: Any, key: str, where: str, find: Find) -> RowsReference | None:
    if not value:
        return None
    if isinstance(value, str):
        value = {"path" if _is_path(value, find) else "dataset": value}
    known = ("path", "dataset", "config", "split", "revision")
    named = {name: v for name, v in value.items() if v is not None} if isinstance(value, Mapping) else {}
    if set(named) - set(known) or ("path" in named) == ("dataset" in named):
        raise TaskError(
            f"{where}: `{key}` is {value!r}; expected `path: FILE` or `dataset: HUB_ID`, with split if needed."
        )
    reference = RowsReference(**{name: str(v) for name, v in named.items()})
    if reference.path is None:
        return reference
    path = find(reference.path)
    if not path.exists():
        raise TaskError(
            f"{where}: `{key}` names {path}, which does not exist. Correct the path; it is relative to the task file, "
            "or to the working directory for a dict."
        )
    if not path.is_dir():
        if path.suffix not in FILE_KINDS:
            raise TaskError(
                f"{where}: `{key}` names {path}, which ends in `{path.suffix}`; give {', '.join(FILE_KINDS)}."
            )
        if len(named) > 1:
            extra = [name for name in named if name != "path"]
            raise TaskError(f"{where}: `{key}` names a single file, which has no {_quoted(extra)}. Remove that.")
    return replace(reference, path=str(path.resolve()))


def _is_path(value: str, find: Find) -> bool:
    if Path(value).suffix in FILE_KINDS or value.startswith((".", "/", "~")):
        return True
    return isinstance(find, Beside) and find(value).exists()


def _examples(value: Any, task: Task, where: str) -> tuple[dict[str, str], ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_EXAMPLES:
        held = f"{len(value)}" if isinstance(value, list | tuple) else "none"
        raise TaskError(f"{where}: `examples` holds {held}; expected a list of 1 to {MAX_EXAMPLES}.")
    allowed = (*task.fields, "rationale")
    examples = []
    for number, example in enumerate(value, start=1):
        if not isinstance(example, Mapping):
            raise TaskError(f"{where}: example {number} is {example!r}; expected the fields {_quoted(task.fields)}.")
        extra = [key for key in example if key not in allowed]
        if extra:
            near = difflib.get_close_matches(extra[0], allowed, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise TaskError(f"{where}: example {number} has {_quoted(extra)}, which the task does not know.{hint}")
        checked = task.check_row(example, f"example {number}")
        if blank := [name for name in task.fields if not checked[name].strip()]:
            raise TaskError(f"{where}: example {number} has nothing in {_quoted(blank)}; write what belongs there.")
        if task.extractive and not any(checked[task.output] in checked[name] for name in task.inputs):
            raise TaskError(
                f"{where}: the task is extractive, but `{task.output}` of example {number} stands in none of its "
                f"inputs: `{checked[task.output]}`. Copy it word for word, or set `extractive: false`."
            )
        rationale = as_text(example.get("rationale", ""))
        if rationale is None and example["rationale"] is not None:
            raise TaskError(f"{where}: `rationale` of example {number} is {example['rationale']!r:.80}; give a text.")
        if rationale and rationale.strip():
            checked["rationale"] = rationale
        examples.append(checked)
    with_rationale = sum("rationale" in example for example in examples)
    if 0 < with_rationale < len(examples):
        raise TaskError(
            f"{where}: {with_rationale} of {len(examples)} examples have a `rationale`; give all of them one, or none."
        )
    return tuple(examples)
