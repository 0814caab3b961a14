"""The records that flow from stage to stage.

SourceRow ─► RetrievedRow ─► Draft ─► Completion ─► Example | Dropped
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["seed", "context", "shot", "passage"]
Stage = Literal["retrieval", "teacher", "checks"]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of one source dataset.

    Attributes:
        row: The row's position in the source split (not in any sample of it).
        cells: Column name to text, in the source's column order; nested columns are joined by dots.
        description: What the dataset's card says it is.
    """

    dataset: str
    config: str | None
    split: str
    revision: str | None
    row: int
    license: str | None
    url: str | None
    cells: Mapping[str, str]
    description: str = ""
    language: tuple[str, ...] = ()

    def reference(self, role: Role) -> dict[str, Any]:
        """Return the entry that this row gets in an example's `sources`."""
        return {
            "role": role,
            "dataset": self.dataset,
            "config": self.config,
            "split": self.split,
            "revision": self.revision,
            "row": self.row,
            "license": self.license,
        }


def source_address(source: Mapping[str, Any]) -> str:
    """Return what names a source row in full, of its reference or an example's provenance: `DATASET:CONFIG:SPLIT#ROW`.

    A configuration or split that there is not is left out.
    """
    names = (source.get(part) for part in ("dataset", "config", "split"))
    return f"{':'.join(str(name) for name in names if name is not None)}#{source.get('row')}"


@dataclass(frozen=True, slots=True)
class RetrievedRow:
    """A source row that was found for a task.

    Attributes:
        score: What the rows are ranked by; for ReBase made of `parts` (`methods/scoring.py`), or the cosine with the
            nearest query.
        parts: The scores that it is made of, by name: `instruction`, `input`, `output`.
        columns: The columns that decided the score, by its parts; for ReBase the argmax columns `input` and `output`.
        fields: For each input field of the task, the column that can stand in for it.
        key: The row's key in the index it was found in.
    """

    source: SourceRow
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    key: int = -1


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the teacher samples. None leaves the choice to the server."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What to ask the teacher, and about which row.

    Attributes:
        messages: The prompt, rendered. Its content is what the journal keys an answer by.
        schema: JSON schema that the answer must satisfy, or None for free text.
        row: The row asked about, where the method asks about rows.
        shots: Other source rows that went into it, with their roles.
        passages: Texts that belong to the example, as the student will be given them.
        fields: What the example will hold whatever the answer says: a label that was asked for, a given question.
        sample: Which of several draws of the same prompt this is.
        repair: 0 for a first question, 1 for the one that asks to mend an answer that could not be read.
        optional: What is asked beside what an example is made of: where it has no usable answer, it counts as one that
            says nothing, and ends neither the example nor the run.
        supposed: Of what is asked once for many drafts, the answer that an estimate goes on with where there is none
            yet: what it says stands in the prompts that follow.
        sampling: The method's sampling; whatever the user sets on the teacher wins over it.
    """

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None
    row: RetrievedRow | None = None
    shots: tuple[tuple[Role, SourceRow], ...] = ()
    sample: int = 0
    repair: int = 0
    sampling: Sampling = Sampling()
    passages: tuple[str, ...] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False
    supposed: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of the teacher.

    Attributes:
        key: The journal key of the request that it answers (hex).
        finish_reason: As the server gave it: `stop`, `length`, ...
        confidence: How sure the teacher is, where it says so (the few-shot teacher does).
        attempts: How often it was tried; refusals of a busy server do not count.
    """

    key: str
    text: str
    finish_reason: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    confidence: float | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Example:
    """One example of the task, with where it came from.

    Attributes:
        fields: The task's input fields and its output field.
        rationale: The reasoning that leads to the output; None where the task does not reason.
        provenance: The row and the request it was made from; nulls where nothing was retrieved.
        sources: Every source row that went into it.
        passages: What was retrieved for it, where its method gives a student passages to read.
    """

    fields: Mapping[str, str]
    rationale: str | None
    provenance: Mapping[str, Any]
    sources: tuple[Mapping[str, Any], ...] = ()
    passages: tuple[str, ...] | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the row as it stands in the dataset (the label still as text)."""
        record: dict[str, Any] = dict(self.fields)
        if self.rationale is not None:
            record["rationale"] = self.rationale
        if self.passages is not None:
            record["passages"] = list(self.passages)
        record["provenance"] = dict(self.provenance)
        record["sources"] = [dict(source) for source in self.sources]
        return record


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row or an output that is not an example, and why.

    Attributes:
        stage: Where it ended: `retrieval` (never asked about), `teacher` (quarantined: no usable answer) or
            `checks` (answered, and refused by a check).
        reason: A short snake_case word, the same wherever this reason is counted.
        detail: What a person needs to understand it.
    """

    stage: Stage
    reason: str
    detail: str = ""
    row: RetrievedRow | None = None
    key: str | None = None
    text: str | None = None
    attempts: int = 0

    def to_record(self) -> dict[str, Any]:
        """Return the line that this gets in `ledger.jsonl`."""
        names = ("stage", "reason", "detail", "key", "text", "attempts")
        record = {name: getattr(self, name) for name in names}
        if self.row is not None:
            record["source"] = self.row.source.reference("context")
            record["score"] = self.row.score
        return record
