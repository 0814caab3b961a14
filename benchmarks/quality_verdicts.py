"""What a reader said of the rows that were read: `quality_read.json`, which holds digests and no text of the kit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VERDICTS = Path(__file__).parent / "quality_read.json"
SAID = ("right", "wrong", "unclear")
MOST_WORDS = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reader said of one row.

    Attributes:
        said: `right`: the row is what the check says, or, of a kept one, without fault; `wrong`; `unclear`.
        why: At most three words.
    """

    said: str
    why: str


def read_verdicts(path: Path = VERDICTS) -> dict[str, dict[str, Verdict]]:
    """Return the verdicts by check and digest; none where there is no file.

    Raises:
        SystemExit: One is no verdict.
    """
    if not path.exists():
        return {}
    content: Mapping[str, Mapping[str, str]] = json.loads(path.read_text())
    return {check: {key: _verdict(check, key, told) for key, told in rows.items()} for check, rows in content.items()}


def _verdict(check: str, key: str, told: str) -> Verdict:
    said, _, why = told.partition(": ")
    if said not in SAID or len(why.split()) > MOST_WORDS:
        raise SystemExit(
            f"The verdict on {key} ({check}) is `{told}`; expected {', '.join(SAID)}, and after a colon at most "
            f"{MOST_WORDS} words why."
        )
    return Verdict(said, why)
