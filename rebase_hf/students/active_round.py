"""One round of active synthesis: how it is asked for, and what came of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rebase_hf.errors import StudentError
from rebase_hf.pipeline import Run
from rebase_hf.rows import Example, source_address
from rebase_hf.students.kind import check_number


@dataclass(frozen=True, slots=True)
class ActiveSettings:
    """How rows are asked for, and when no more are.

    Attributes:
        max_new_rows: How many rows may join in all.
        rows_per_round: How many are asked for at a time.
        easy_share: Share of the queries that are rows which the student gets right and is sure of.
        min_gain: Stop when the score has gained less than this per 100 rows of the last round; None goes on.
        seed: Of the choice of queries, and of the runs.
    """

    max_new_rows: int = 200
    rows_per_round: int = 50
    easy_share: float = 0.2
    min_gain: float | None = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("max_new_rows", self.max_new_rows, 1, whole=True)
        check_number("rows_per_round", self.rows_per_round, 1, whole=True)
        check_number("seed", self.seed, 0, whole=True)
        check_number("easy_share", self.easy_share, 0, 1)
        if self.easy_share == 1:
            raise StudentError("Option `easy_share` is 1; something must be asked for that is not easy: give less.")
        if self.min_gain is not None:
            check_number("min_gain", self.min_gain, -float("inf"))


@dataclass(frozen=True, slots=True)
class Round:
    """One round of asking.

    Attributes:
        queries: How many texts were searched for, by why they were: `error`, `uncertain`, `easy`.
        asked: How many rows the teacher was asked about, by the journal or anew.
        requests: How many requests were sent for it.
        dropped: Outputs that are no new rows, by reason.
        examples: The rows that join.
        used: Addresses of the source rows that are not to be asked about again.
        run: The run's id.
        ran_out: Why no further round can bring more, if so.
    """

    queries: Mapping[str, int]
    asked: int = 0
    requests: int = 0
    tokens: int = 0
    cost: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    used: tuple[str, ...] = ()
    run: str | None = None
    ran_out: str | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the round as JSON, its rows counted."""
        record = {name: value for name, value in asdict(self).items() if name not in ("examples", "used")}
        return record | {"rows": len(self.examples)}


def round_of(begun: Round, run: Run, found: Sequence[Example], new: tuple[list[Example], Counter[str]]) -> Round:
    """Return a round with what came of its run: of the examples found the new ones, and why others are not."""
    tally, usage = run.tally(), run.usage().get("session", {})
    kept, repeated = new
    entries = (entry["source"] for entry in run.ledger() if entry["outcome"] != "before" and entry.get("source"))
    made_from = [*(source_address(example.provenance) for example in found), *map(source_address, entries)]
    stopped = {"candidates_ran_out": "candidates_ran_out", "budget_reached": "teacher_budget"}
    return replace(
        begun,
        asked=tally.asked,
        requests=usage.get("requests", 0),
        tokens=usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0),
        cost=usage.get("cost"),
        dropped={**tally.dropped, **tally.quarantined, **repeated},
        examples=tuple(kept),
        used=tuple(dict.fromkeys(made_from)),
        run=run.id,
        ran_out=stopped.get(run.state().stopped or ""),
    )
