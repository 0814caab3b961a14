"""What a run decides, as it is kept: outcomes in their order, their counts, and how the run stands."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rebase_hf.rows import Dropped, Example, RetrievedRow

Kind = Literal["example", "before", "dropped", "quarantined"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One outcome, at its place in the order in which outcomes are decided."""

    seq: int
    kind: Kind
    reason: str | None
    position: int | None
    record: str


@dataclass(frozen=True, slots=True)
class RunState:
    """How a run stands.

    Attributes:
        complete: Nothing is left to decide.
        stopped: Why it has fewer examples than asked for: `candidates_ran_out`, `budget_reached`; None while it runs
            and when it has them all.
        session: The call that it was executed for last: a budget that ended one call ends no other.
    """

    complete: bool = False
    stopped: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """A run's counts.

    Two identities hold: retrieved == asked + sum(dropped_before), and outputs == examples + sum(dropped) +
    sum(quarantined).
    """

    asked: int
    outputs: int
    examples: int
    dropped_before: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)

    @property
    def retrieved(self) -> int:
        """Rows looked at: asked about, or left out before."""
        return self.asked + sum(self.dropped_before.values())


def example_record(example: Example, row: RetrievedRow | None, place: int = 0, asked: Sequence[str] = ()) -> str:
    """Return an example as JSON, with the row that it came from as the report shows it.

    Args:
        place: Its place among the outputs of one draft; the first of each is what counts drafts.
        asked: The keys of all requests about its draft, in their order; kept where there are several.
    """
    record: dict[str, Any] = {
        "fields": dict(example.fields),
        "rationale": example.rationale,
        "provenance": dict(example.provenance),
        "sources": [dict(source) for source in example.sources],
    }
    if example.passages is not None:
        record["passages"] = list(example.passages)
    record |= _kept(place, asked)
    if row is not None:
        record["row"] = _told(row)
    return json.dumps(record, ensure_ascii=False)


def read_example(record: str) -> Example:
    """Return the example that `example_record` wrote."""
    content = json.loads(record)
    sources = tuple(content["sources"])
    passages = tuple(content["passages"]) if "passages" in content else None
    return Example(content["fields"], content["rationale"], content["provenance"], sources, passages)


def dropped_record(dropped: Dropped, place: int = 0, asked: Sequence[str] = ()) -> str:
    """Return a drop as JSON, as the ledger holds it, with the row that it was about; the rest as in an example's."""
    record = dropped.to_record() | _kept(place, asked)
    if dropped.row is not None:
        record |= _told(dropped.row)
    return json.dumps(record, ensure_ascii=False)


def _kept(place: int, asked: Sequence[str]) -> dict[str, Any]:
    keys = list(dict.fromkeys(filter(None, asked)))
    return ({"place": place} if place else {}) | ({"asked": keys} if len(keys) > 1 else {})


def _told(row: RetrievedRow) -> dict[str, Any]:
    """Return what `rows.jsonl` and `ledger.jsonl` tell of a row beside its source."""
    return {
        "cells": dict(row.source.cells),
        "score": row.score,
        "parts": dict(row.parts),
        "columns": dict(row.columns),
        "fields_from": dict(row.fields),
    }
