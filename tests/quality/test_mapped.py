"""The map of a set as a check: what goes for its share, what for being contradicted."""

import numpy as np
import pytest

from rebase_hf.errors import TaskError
from rebase_hf.quality.gate import CheckOptions
from rebase_hf.quality.mapped import map_reasons, map_verdicts
from rebase_hf.task import Task

TASK = Task.load(
    {
        "name": "mood",
        "instruction": "Name the mood of a message.",
        "inputs": ["message"],
        "output": "mood",
        "labels": ["glad", "cross"],
        "examples": [{"message": "glad 0", "mood": "glad"}],
    }
)
WRONG = (3, 40, 77)


class Moods:
    """An encoder whose vectors say what the first word says, nearly."""

    name, dimension = "moods", 2

    def encode(self, texts):
        sides = [1.0 if text.startswith("glad") else -1.0 for text in texts]
        tilted = [(side, 0.3 * np.sin(int(text.split()[1]))) for side, text in zip(sides, texts, strict=True)]
        vectors = np.array(tilted, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def examples():
    moods = ["glad" if number % 2 else "cross" for number in range(100)]
    said = [{"glad": "cross", "cross": "glad"}[mood] if n in WRONG else mood for n, mood in enumerate(moods)]
    return [{"message": f"{mood} {n}", "mood": label} for n, (mood, label) in enumerate(zip(moods, said, strict=True))]


def test_what_is_contradicted_goes_and_a_share_goes_whatever_it_is():
    options = CheckOptions(cartography=0.83, contradicted_odds=3.0)
    assert map_reasons(options) == ["hard_to_learn", "label_contradicted"]
    share, odds = map_verdicts(TASK, examples(), options, Moods())
    assert [number for number, stays in enumerate(odds.keep) if not stays] == list(WRONG)
    assert all("likely, its own" in odds.details[number] for number in WRONG) and not odds.details[0]
    assert sum(share.keep) == 82 and not any(share.keep[number] for number in WRONG)


def test_a_learner_that_knows_nothing_contradicts_nothing(caplog):
    asked = [fields | {"mood": "glad" if number // 2 % 2 else "cross"} for number, fields in enumerate(examples())]
    (odds,) = map_verdicts(TASK, examples(), CheckOptions(contradicted_odds=1.0), Moods())
    assert not all(odds.keep) and not caplog.records
    assert map_verdicts(TASK, asked, CheckOptions(contradicted_odds=1.0), Moods()) == []
    assert "knows too little to contradict any" in caplog.text
    # Nor one that knows which label is the most frequent: 95 of 100 are right, and so are all that say so.
    rare = [fields | {"mood": "glad" if number % 20 else "cross"} for number, fields in enumerate(examples())]
    assert map_verdicts(TASK, rare, CheckOptions(contradicted_odds=3.0), Moods()) == []


def test_nothing_is_mapped_that_nobody_asked_for():
    assert map_reasons(CheckOptions()) == [] and map_verdicts(TASK, examples(), CheckOptions(), Moods()) == []


def test_odds_below_one_are_refused():
    with pytest.raises(TaskError, match=r"contradicted_odds is 0.5; expected 1"):
        CheckOptions(contradicted_odds=0.5)
